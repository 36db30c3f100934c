import { MAX_RECORD } from './record.ts';
import { VmError } from './vm-error.ts';

/** What follows in the stream of a VM. */
export const FrameKind = {
  /** Bytes of the VMM's own migration stream, as they are. */
  VMM: 1,
  /** What the VMM does not migrate of its devices; see record.ts. */
  RECORD: 2,
  /** There is no more. */
  END: 3,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** Kind (1 byte) and length (4 bytes, little-endian) of what follows. */
const HEAD = 5;
/** No piece of the VMM's stream is longer, in bytes. */
export const MAX_VMM_FRAME = 1024 * 1024;

const LONGEST: Readonly<Record<FrameKind, number>> = {
  [FrameKind.VMM]: MAX_VMM_FRAME,
  [FrameKind.RECORD]: MAX_RECORD,
  [FrameKind.END]: 0,
};

/** The head of a frame. */
export function frameHead(kind: FrameKind, length: number): Uint8Array {
  const head = new Uint8Array(HEAD);
  const view = new DataView(head.buffer);
  view.setUint8(0, kind);
  view.setUint32(1, length, true);
  return head;
}

/** Who is given what a {@link FrameReader} finds. */
export interface FrameTaker {
  /** A piece of the VMM's stream; valid only during the call. */
  vmm(piece: Uint8Array): void;
  record(bytes: Uint8Array): void;
  end(): void;
}

/** Takes the stream of a VM apart, however it was cut. Keeps a record, and nothing of the VMM's stream. */
export class FrameReader {
  readonly #taker: FrameTaker;
  readonly #head = new Uint8Array(HEAD);
  #headLength = 0;
  #kind: FrameKind = FrameKind.VMM;
  #left = 0;
  #record: Uint8Array[] = [];
  #ended = false;

  constructor(taker: FrameTaker) {
    this.#taker = taker;
  }

  /** Everything was there, up to the end. */
  get ended(): boolean {
    return this.#ended;
  }

  /** @throws VmError ERR_VM_RECORD */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#ended) throw new VmError('ERR_VM_RECORD', 'the stream of the VM goes on behind its end');
      if (this.#left === 0) at += this.#takeHead(bytes, at);
      else at += this.#takeBody(bytes, at);
    }
  }

  #takeHead(bytes: Uint8Array, at: number): number {
    const count = Math.min(HEAD - this.#headLength, bytes.length - at);
    this.#head.set(bytes.subarray(at, at + count), this.#headLength);
    this.#headLength += count;
    if (this.#headLength === HEAD) this.#begin();
    return count;
  }

  #begin(): void {
    this.#headLength = 0;
    const view = new DataView(this.#head.buffer);
    const kind = kindOf(view.getUint8(0));
    const length = view.getUint32(1, true);
    if (kind === null || length > LONGEST[kind]) {
      throw new VmError(
        'ERR_VM_RECORD',
        `the stream of the VM has a frame of kind ${view.getUint8(0)} and ${length} bytes`,
      );
    }
    this.#kind = kind;
    this.#left = length;
    if (kind !== FrameKind.END) return;
    this.#ended = true;
    this.#taker.end();
  }

  #takeBody(bytes: Uint8Array, at: number): number {
    const piece = bytes.subarray(at, at + this.#left);
    this.#left -= piece.length;
    if (this.#kind === FrameKind.VMM) this.#taker.vmm(piece);
    else this.#record.push(piece.slice());
    if (this.#left === 0 && this.#kind === FrameKind.RECORD) {
      this.#taker.record(Buffer.concat(this.#record));
      this.#record = [];
    }
    return piece.length;
  }
}

function kindOf(value: number): FrameKind | null {
  return Object.values(FrameKind).find((kind) => kind === value) ?? null;
}
