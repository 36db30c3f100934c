/**
 * Where the pieces of a v1 source end, for a v1 destination: "the data should be of same transaction size at the
 * source" (linux/vfio.h of Linux 5.8 to 5.17). What lies between the two may cut and join bytes as it likes.
 */
export class PieceBoundaries {
  readonly #lengths: number[] = [];

  /** The source has taken a piece of so many bytes. */
  push(length: number): void {
    this.#lengths.push(length);
  }

  /** Bytes of the next piece that the destination is to be given; null when none is known. */
  get next(): number | null {
    return this.#lengths[0] ?? null;
  }

  /** The destination has the next piece. */
  shift(): void {
    this.#lengths.shift();
  }

  /** A new saving session begins: what was left of an earlier one does not count. */
  clear(): void {
    this.#lengths.length = 0;
  }
}
