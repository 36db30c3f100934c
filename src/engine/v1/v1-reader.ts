import { type V1Device, V1Error } from '../../client/index.ts';
import { PieceBoundaries } from './piece-boundaries.ts';

/** So many pieces without a byte, one after the other, although pending_bytes is not 0, are no progress. */
const MAX_EMPTY_PIECES = 16;
const NOTHING = new Uint8Array(0);

/** Reads the saving session of a v1 device in chunks of any size, out of pieces of the device's own size. */
export class V1Reader {
  readonly #device: V1Device;
  readonly #maxStopCopy: number;
  #boundaries: PieceBoundaries | null = null;
  /** What was taken from the device and did not fit into the last chunk. */
  #rest: Uint8Array = NOTHING;
  /** A piece was read, and pending_bytes not yet after it. */
  #unacknowledged = false;
  /** Bytes of this stop-and-copy; null before it. */
  #stopCopyBytes: number | null = null;
  #broken: unknown = null;

  constructor(device: V1Device, maxStopCopy: number) {
    this.#device = device;
    this.#maxStopCopy = maxStopCopy;
  }

  /** Where its pieces end, from now on. */
  shareBoundaries(): PieceBoundaries {
    this.#boundaries ??= new PieceBoundaries();
    return this.#boundaries;
  }

  /** A session begins; nothing of an earlier one counts. */
  begin(): void {
    this.#boundaries?.clear();
    this.#rest = NOTHING;
    this.#unacknowledged = false;
    this.#stopCopyBytes = null;
    this.#broken = null;
  }

  /** The device has stopped: from now on the data have an end. */
  stop(): void {
    this.#stopCopyBytes = 0;
  }

  /** Reads at most `maxBytes`; 0 is the end, in pre-copy for now. After a failure there may be a hole: no more then. */
  async read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    if (this.#broken !== null) throw this.#broken;
    if (this.#rest.length > 0) return this.#deliver(this.#rest, maxBytes, consume);
    try {
      return await this.#readPiece(maxBytes, consume);
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  /** Step f of the last transaction, if it is still to be done: before anything else happens to the device. */
  async acknowledge(): Promise<void> {
    if (this.#unacknowledged) await this.#pending();
  }

  /** What is left, as far as the device tells; null when that can't be. */
  async left(): Promise<bigint | null> {
    const pending = await this.#pending();
    return pending > BigInt(Number.MAX_SAFE_INTEGER) ? null : pending + BigInt(this.#rest.length);
  }

  async #readPiece(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    for (let empty = 0; empty < MAX_EMPTY_PIECES; empty += 1) {
      if ((await this.#pending()) === 0n) return 0;
      let delivered = 0;
      const length = await this.#device.readPiece((piece) => {
        this.#count(piece.length);
        this.#boundaries?.push(piece.length);
        delivered = this.#deliver(piece, maxBytes, consume);
      });
      this.#unacknowledged = true;
      if (length > 0) return delivered;
    }
    const message = `${MAX_EMPTY_PIECES} times the device had data pending, and then a piece without a byte`;
    throw new V1Error('ERR_V1_DATA', message);
  }

  /** Hands over as much as is wanted, and keeps the rest for the next time. */
  #deliver(piece: Uint8Array, maxBytes: number, consume: (chunk: Uint8Array) => void): number {
    const chunk = piece.subarray(0, maxBytes);
    this.#rest = piece.length > chunk.length ? new Uint8Array(piece.subarray(chunk.length)) : NOTHING;
    consume(chunk);
    return chunk.length;
  }

  #count(length: number): void {
    if (this.#stopCopyBytes === null) return;
    this.#stopCopyBytes += length;
    if (this.#stopCopyBytes <= this.#maxStopCopy) return;
    const message = `the device has stopped, has had more than ${this.#maxStopCopy} bytes to save, and goes on`;
    throw new V1Error('ERR_V1_DATA', message, { bytes: this.#stopCopyBytes });
  }

  async #pending(): Promise<bigint> {
    const pending = await this.#device.pendingBytes();
    this.#unacknowledged = false;
    return pending;
  }
}
