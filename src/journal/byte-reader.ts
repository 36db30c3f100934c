import type { Fields, Struct, StructValue } from '../protocol/index.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Takes bytes from the front; null where there are too few, or no text. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** The next structure. */
  struct<F extends Fields>(layout: Struct<F>): StructValue<F> | null {
    if (this.left < layout.size) return null;
    const value = layout.read(this.#view, this.#at);
    this.#at += layout.size;
    return value;
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Uint8Array | null {
    if (this.left < length) return null;
    this.#at += length;
    return new Uint8Array(this.#bytes.subarray(this.#at - length, this.#at));
  }

  /** The next `length` bytes as UTF-8. */
  text(length: number): string | null {
    const bytes = this.bytes(length);
    if (bytes === null) return null;
    try {
      return utf8.decode(bytes);
    } catch {
      return null;
    }
  }
}
