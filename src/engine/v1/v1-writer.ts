import { type V1Device, V1Error } from '../../client/index.ts';
import { Errno } from '../../errors/index.ts';
import type { PieceBoundaries } from './piece-boundaries.ts';

const NOTHING = new Uint8Array(0);

/**
 * Writes the resuming session of a v1 device: in the pieces of its source when there are boundaries, and otherwise as
 * long as the data section lets them be.
 */
export class V1Writer {
  readonly #device: V1Device;
  readonly #boundaries: PieceBoundaries | null;
  /** What was written and is no whole piece yet. */
  #partial: Uint8Array = NOTHING;
  #broken: unknown = null;

  constructor(device: V1Device, boundaries: PieceBoundaries | null) {
    this.#device = device;
    this.#boundaries = boundaries;
  }

  /** A session begins. */
  begin(): void {
    this.#partial = NOTHING;
    this.#broken = null;
  }

  /** Writes `bytes`, which must not change any more. After a failure there is a hole: no more then. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    try {
      await (this.#boundaries === null ? this.#cut(bytes) : this.#join(bytes, this.#boundaries));
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  /** Makes sure that nothing is missing, before the device makes the state its own. */
  requireWhole(): void {
    if (this.#broken !== null) throw this.#broken;
    if (this.#partial.length === 0 && (this.#boundaries?.next ?? null) === null) return;
    const message = 'the last piece of the source has not arrived as a whole';
    throw new V1Error('ERR_V1_DATA', message, { bytes: this.#partial.length }, { errno: Errno.EINVAL });
  }

  async #cut(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + (await this.#device.roomForPiece()));
      await this.#device.writePiece(piece);
      at += piece.length;
    }
  }

  async #join(bytes: Uint8Array, boundaries: PieceBoundaries): Promise<void> {
    this.#partial = joined(this.#partial, bytes);
    for (let next = boundaries.next; next !== null && next <= this.#partial.length; next = boundaries.next) {
      await this.#device.writePiece(this.#partial.subarray(0, next));
      this.#partial = this.#partial.subarray(next);
      boundaries.shift();
    }
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
