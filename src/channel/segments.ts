/**
 * Divides a buffer into equal segments and knows how many frames live in each. A frame never crosses from one to the
 * next, and a segment is used again when all its frames have been handled, so nothing that somebody looks at moves.
 */
export class Segments {
  readonly size: number;
  readonly #live: Uint32Array;

  constructor(count: number, size: number) {
    this.size = size;
    this.#live = new Uint32Array(count);
  }

  /** The first byte of a segment. */
  start(index: number): number {
    return index * this.size;
  }

  /** Whether no frame lives in it. */
  free(index: number): boolean {
    return this.#live[index] === 0;
  }

  /** The first segment without frames; null when there is none. */
  firstFree(): number | null {
    const index = this.#live.indexOf(0);
    return index < 0 ? null : index;
  }

  hold(index: number): void {
    this.#live[index] = (this.#live[index] ?? 0) + 1;
  }

  release(index: number): void {
    this.#live[index] = (this.#live[index] ?? 1) - 1;
  }
}
