import { BlockSweep } from './block-sweep.ts';
import type { Crc32 } from './checksum.ts';
import { type DeviceImage, fieldSize, PAGE_SIZE, qualifiedName } from './device-image.ts';
import { EndData, MAX_RUN, RECORD_OVERHEAD, RecordType } from './format.ts';
import { encodeImageHeader } from './image-header.ts';
import { RecordEmitter } from './record-emitter.ts';
import { StreamError } from './stream-error.ts';

/** How much there is to send, as the kernel's `struct vfio_precopy_info` has it. */
export interface PrecopyInfo {
  /** What is left of the first pass over everything, in bytes. */
  readonly initialBytes: bigint;
  /** What changed after it had been sent, in bytes. */
  readonly dirtyBytes: bigint;
}

/** Which records come next; `idle` before the session and `closed` after it. */
type Phase = 'idle' | 'header' | 'blocks' | 'end' | 'done' | 'closed';

const END_SIZE = RECORD_OVERHEAD + EndData.size;

/**
 * Writes the state of a device, as much at a time as is asked for. While the device runs (PRE_COPY) the memory blocks
 * are sent, and again where they change; after {@link stop} come what is left of them, the fields and the end.
 */
export class StateWriter {
  readonly #image: DeviceImage;
  readonly #header: Uint8Array;
  readonly #fieldBytes: number;
  readonly #sweep: BlockSweep;
  readonly #emitter: RecordEmitter;
  #phase: Phase = 'idle';
  #stopped = false;
  /** Whether what is being emitted belongs to the first pass. */
  #initial = true;

  /** Throws `ERR_STREAM_SCHEMA` when the image's identity or schema cannot be written. `dataCrc32`: a faster one than Node's. */
  constructor(image: DeviceImage, dataCrc32?: Crc32) {
    this.#emitter = new RecordEmitter(dataCrc32);
    this.#image = image;
    this.#header = encodeImageHeader(image);
    this.#fieldBytes = image.schema.parts
      .flatMap((part) => part.fields)
      .reduce((sum, field) => sum + fieldSize(field), 0);
    this.#sweep = new BlockSweep(image.blocks);
  }

  /** Begins the session: from now on changes of the blocks are tracked. */
  start(): void {
    if (this.#phase !== 'idle') throw closed('a writer writes one state and has already begun');
    for (const block of this.#image.blocks) block.track();
    this.#phase = 'header';
  }

  /**
   * Fills `target` and returns how many bytes it took. Before {@link stop} fewer than asked for means that nothing is
   * dirty now, later there may be more; afterwards it means the end, and every further call returns 0.
   */
  read(target: Uint8Array): number {
    this.#requireOpen();
    let filled = 0;
    // A search for unreported writes costs a pass over the memory, so there is one per call at most.
    let searched = this.#stopped;
    while (filled < target.length) {
      filled += this.#emitter.emit(target, filled);
      if (filled === target.length || this.#begin()) continue;
      if (searched || this.#phase === 'done') break;
      this.#sweep.refresh();
      searched = true;
    }
    return filled;
  }

  /** The device has stopped: nothing changes any more, and the fields have their final values when they are read. */
  stop(): void {
    this.#requireOpen();
    if (this.#stopped) return;
    this.#sweep.refresh();
    this.#stopped = true;
  }

  /** What is left to send before {@link stop}. Both 0: nothing, for now. */
  precopyInfo(): PrecopyInfo {
    this.#requireOpen();
    this.#searchWhenDry();
    const { pending } = this.#emitter;
    const { firstPass, dirtyBytes } = this.#sweep;
    return {
      initialBytes: BigInt(this.#headerBytes + firstPass + (this.#initial ? pending : 0)),
      dirtyBytes: BigInt(Math.max(0, dirtyBytes - firstPass) + (this.#initial ? 0 : pending)),
    };
  }

  /**
   * How many bytes the rest of the stream has at most if nothing changes from now on: MIG_DATA_SIZE. Before
   * {@link start} it is the whole stream.
   */
  remainingBytes(): bigint {
    if (this.#phase === 'closed' || this.#phase === 'done') return BigInt(this.#emitter.pending);
    this.#searchWhenDry();
    const blocks = this.#image.blocks;
    const dirty =
      this.#phase === 'idle' ? blocks.reduce((sum, { size }) => sum + size, 0) : this.#sweep.dirtyBytes;
    const records = (dirty / PAGE_SIZE) * RECORD_OVERHEAD;
    const tail = this.#phase === 'end' ? END_SIZE : RECORD_OVERHEAD + this.#fieldBytes + END_SIZE;
    return BigInt(this.#emitter.pending + this.#headerBytes + dirty + records + tail);
  }

  /** Ends the session, complete or not; the blocks are no longer tracked. */
  close(): void {
    if (this.#phase !== 'idle' && this.#phase !== 'closed')
      for (const block of this.#image.blocks) block.untrack();
    this.#phase = 'closed';
  }

  /** Begins the next record; false when there is none now. */
  #begin(): boolean {
    if (this.#phase === 'header') return this.#beginHeader();
    if (this.#phase === 'blocks') return this.#beginBlock() || (this.#stopped && this.#beginFields());
    return this.#phase === 'end' && this.#beginEnd();
  }

  #beginHeader(): true {
    this.#phase = 'blocks';
    return this.#emit(RecordType.HEADER, this.#header);
  }

  #beginBlock(): boolean {
    const run = this.#sweep.take(MAX_RUN);
    if (run === null) return false;
    const { block, offset, length, bytes, initial } = run;
    this.#initial = initial;
    const range = { block, offset, length };
    if (bytes === null) this.#emitter.begin({ type: RecordType.ZERO, ...range });
    else this.#emitter.begin({ type: RecordType.BLOCK, ...range, data: bytes });
    return true;
  }

  #beginFields(): true {
    this.#phase = 'end';
    return this.#emit(RecordType.FIELDS, encodeFields(this.#image, this.#fieldBytes));
  }

  #beginEnd(): true {
    const { bytes, records } = this.#emitter;
    const data = new Uint8Array(EndData.size);
    EndData.write(new DataView(data.buffer), { bytes, records });
    this.#phase = 'done';
    return this.#emit(RecordType.END, data);
  }

  #emit(type: RecordType, data: Uint8Array): true {
    this.#emitter.begin({ type, length: data.length, data });
    return true;
  }

  /** Looks for unreported writes, but only when everything known has been sent: the search reads all memory. */
  #searchWhenDry(): void {
    if (this.#phase !== 'blocks' || this.#stopped || this.#emitter.pending > 0) return;
    if (this.#sweep.dirtyBytes === 0) this.#sweep.refresh();
  }

  get #headerBytes(): number {
    return this.#phase === 'idle' || this.#phase === 'header' ? RECORD_OVERHEAD + this.#header.length : 0;
  }

  #requireOpen(): void {
    if (this.#phase === 'idle') throw closed('the writer has not begun');
    if (this.#phase === 'closed') throw closed('the session is over');
  }
}

function encodeFields(image: DeviceImage, size: number): Uint8Array {
  const values = image.saveFields();
  const data = new Uint8Array(size);
  let at = 0;
  for (const part of image.schema.parts) {
    for (const field of part.fields) {
      const name = qualifiedName(part.name, field.name);
      const value = values.get(name);
      if (value?.length !== fieldSize(field)) throw wrongValue(name, fieldSize(field), value);
      data.set(value, at);
      at += value.length;
    }
  }
  return data;
}

function wrongValue(name: string, size: number, value: Uint8Array | undefined): StreamError {
  const got = value === undefined ? 'saved none' : `saved ${value.length}`;
  return new StreamError('ERR_STREAM_SCHEMA', `field ${name} takes ${size} bytes, the device ${got}`, 0);
}

function closed(why: string): StreamError {
  return new StreamError('ERR_STREAM_CLOSED', `nothing can be read: ${why}`, 0);
}
