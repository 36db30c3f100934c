/** A copy from byte `from` on. Not `slice`, which copies nothing when somebody hands in a Buffer. */
export function copyOf(bytes: Uint8Array, from = 0): Uint8Array {
  return new Uint8Array(bytes.subarray(from));
}

/** The same bytes as a plain Uint8Array, whose `slice` copies: whoever gets a Buffer may not expect otherwise. */
export function plain(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
}
