/** Larger than any configuration space. */
const SIZE = 4096;

/**
 * The configuration space as the client has read and written it: all that is left of it when a back end has died. A bit
 * that a device does not let be written is held wrongly until it is read; only registers are taken from here.
 */
export class ConfigShadow {
  readonly #bytes = new Uint8Array(SIZE);
  readonly #known = new Uint8Array(SIZE);

  /** The client has read or written bytes[start...end], which stand at `offset`. */
  note(offset: number, bytes: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (offset < 0 || offset + count > SIZE) return;
    for (let i = 0; i < count; i += 1) {
      this.#bytes[offset + i] = bytes[start + i] ?? 0;
      this.#known[offset + i] = 1;
    }
  }

  /** What is known, and what `own` has where nothing is. */
  over(own: Uint8Array): Uint8Array {
    return own.map((byte, i) => (this.#known[i] === 1 ? (this.#bytes[i] ?? 0) : byte));
  }
}
