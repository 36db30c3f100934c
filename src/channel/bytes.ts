/** A copy from byte `from` on. Not `slice`, which copies nothing when somebody hands in a Buffer. */
export function copyOf(bytes: Uint8Array, from = 0): Uint8Array {
  return new Uint8Array(bytes.subarray(from));
}

/** Copies into memory that is used again by the next copy. */
export class Snapshot {
  #memory: Uint8Array | null = null;

  /** A copy that is valid until the next one. */
  take(bytes: Uint8Array): Uint8Array {
    if (this.#memory === null || this.#memory.length < bytes.length)
      this.#memory = new Uint8Array(bytes.length);
    this.#memory.set(bytes);
    return this.#memory.subarray(0, bytes.length);
  }
}

/** The same bytes as a plain Uint8Array, whose `slice` copies: whoever gets a Buffer may not expect otherwise. */
export function plain(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
}
