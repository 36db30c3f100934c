import { crc32 } from 'node:zlib';
import { type Crc32, RunningChecksum, zlibCrc32 } from './checksum.ts';
import {
  FORMAT_VERSION,
  MAGIC,
  Preamble,
  RECORD_OVERHEAD,
  RecordHeader,
  type RecordType,
  TRAILER_SIZE,
} from './format.ts';

const NOTHING = new Uint8Array(0);
/** Data are copied and checksummed in pieces that stay in the cache in between, in bytes. */
const CACHED = 64 * 1024;

/** What is being emitted. */
type Stage = 'preamble' | 'header' | 'data' | 'trailer' | 'idle';

/** A record to emit. */
export interface RecordInput {
  readonly type: RecordType;
  /** Number of the block, first byte in it: BLOCK and ZERO; 0 otherwise. */
  readonly block?: number;
  readonly offset?: number;
  /** Bytes of `data`, or of the range that is zero. */
  readonly length: number;
  /** None for ZERO. */
  readonly data?: Uint8Array;
}

/**
 * Turns the preamble and then one record after the other into bytes. Data are copied straight from where they are to
 * the target, and the checksum is taken over the copy, since the original may change in the meantime.
 */
export class RecordEmitter {
  /** Bytes emitted so far. */
  bytes = 0;
  /** Records begun so far. */
  records = 0;
  /** Bytes that the current record still has to emit. */
  pending: number = Preamble.size;
  readonly #header = new Uint8Array(RecordHeader.size);
  readonly #headerView = new DataView(this.#header.buffer);
  readonly #trailer = new Uint8Array(TRAILER_SIZE);
  readonly #trailerView = new DataView(this.#trailer.buffer);
  #stage: Stage = 'preamble';
  /** What the current stage emits, and how much of it is out. */
  #source: Uint8Array;
  #done = 0;
  #data: Uint8Array = NOTHING;
  /** Of the data emitted so far. */
  #checksum = 0;
  readonly #running: RunningChecksum;
  readonly #dataCrc32: Crc32;

  /** `dataCrc32` is for the bulk. */
  constructor(dataCrc32: Crc32 = zlibCrc32) {
    this.#dataCrc32 = dataCrc32;
    this.#source = new Uint8Array(Preamble.size);
    const view = new DataView(this.#source.buffer);
    Preamble.write(view, { ...MAGIC, version: FORMAT_VERSION, checksum: 0 });
    const checksum = crc32(this.#source.subarray(0, Preamble.at.checksum));
    Preamble.write(view, { ...MAGIC, version: FORMAT_VERSION, checksum });
    this.#running = new RunningChecksum(checksum);
  }

  /** Begins a record. Only when nothing is {@link pending}. `data` is read when it is emitted, not now. */
  begin({ type, block = 0, offset = 0, length, data = NOTHING }: RecordInput): void {
    const header = { type, block, offset, length, link: this.#running.value, checksum: 0 };
    RecordHeader.write(this.#headerView, header);
    const checksum = crc32(this.#header.subarray(0, RecordHeader.at.checksum));
    this.#headerView.setUint32(RecordHeader.at.checksum, checksum, true);
    this.records += 1;
    this.pending = RECORD_OVERHEAD + data.length;
    this.#data = data;
    this.#checksum = 0;
    this.#enter('header', this.#header);
  }

  /** Emits what is pending to `target[at...]` as far as it fits; returns how many bytes. */
  emit(target: Uint8Array, at: number): number {
    let end = at;
    while (this.#stage !== 'idle' && end < target.length) {
      const count = Math.min(this.#source.length - this.#done, target.length - end, CACHED);
      target.set(this.#source.subarray(this.#done, this.#done + count), end);
      if (this.#stage === 'data')
        this.#checksum = this.#dataCrc32(target.subarray(end, end + count), this.#checksum);
      this.#done += count;
      end += count;
      if (this.#done === this.#source.length) this.#advance();
    }
    this.bytes += end - at;
    this.pending -= end - at;
    return end - at;
  }

  #advance(): void {
    switch (this.#stage) {
      case 'header':
        this.#enter('data', this.#data);
        break;
      case 'data':
        this.#trailerView.setUint32(0, this.#checksum, true);
        this.#enter('trailer', this.#trailer);
        break;
      case 'trailer':
        this.#running.add(this.#header, this.#checksum);
        this.#data = NOTHING;
        this.#enter('idle', NOTHING);
        break;
      default:
        this.#enter('idle', NOTHING);
    }
  }

  #enter(stage: Stage, source: Uint8Array): void {
    this.#stage = stage;
    this.#source = source;
    this.#done = 0;
  }
}
