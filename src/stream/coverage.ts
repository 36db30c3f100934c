import { PAGE_SIZE } from './device-image.ts';

/** Which pages of a block have arrived at least once. */
export class Coverage {
  readonly #pages: Uint8Array;
  #covered = 0;

  /** For a block of `size` bytes, a multiple of {@link PAGE_SIZE}. */
  constructor(size: number) {
    this.#pages = new Uint8Array(size / PAGE_SIZE);
  }

  /** `length` bytes at `offset` have arrived, both multiples of {@link PAGE_SIZE}. */
  add(offset: number, length: number): void {
    const end = (offset + length) / PAGE_SIZE;
    for (let page = offset / PAGE_SIZE; page < end; page += 1) {
      if (this.#pages[page] === 0) this.#covered += 1;
      this.#pages[page] = 1;
    }
  }

  /** The first byte that has not arrived; null when all have. */
  get missing(): number | null {
    return this.#covered === this.#pages.length ? null : this.#pages.indexOf(0) * PAGE_SIZE;
  }
}
