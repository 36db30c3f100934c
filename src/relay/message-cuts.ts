import { HEADER_SIZE, littleEndian } from '../protocol/index.ts';

/** Offset and size of msg_size in the header. */
const SIZE_AT = 4;
const SIZE_END = 8;

/**
 * Where messages begin in a stream that passes by in pieces. It keeps no bytes but the first eight of a header that is
 * not whole yet, and alters nothing: it only says where a stream may be cut without dividing a header.
 *
 * A size that no message can have means that the stream is no vfio-user, or that we have lost our place in it; from
 * then on nothing is known ({@link understood} is false).
 */
export class MessageCuts {
  /** Whether every message so far has had a size that a message can have. */
  understood = true;
  /** Where messages begin in the piece last given, ascending; {@link count} of them. */
  readonly starts: number[] = [];
  count = 0;
  /** Bytes of the message under way that the header is known to promise, and that have not come yet. */
  #rest = 0;
  readonly #head = new Uint8Array(SIZE_END);
  readonly #view = new DataView(this.#head.buffer);
  /** Bytes of a header that have come while its size is not known. */
  #have = 0;
  #fragment = 0;

  /** Bytes of the message under way that have come, as far as they belong to its header: 0 to 15. */
  get headerFragment(): number {
    return this.#fragment;
  }

  /** Follows bytes[start...end], a new piece. */
  advance(bytes: Uint8Array, start: number, end: number): void {
    this.count = 0;
    this.extend(bytes, start, end);
  }

  /** Follows bytes[start...end], which continue the piece. */
  extend(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    while (this.understood && at < end) {
      if (this.#rest > 0) {
        const taken = Math.min(this.#rest, end - at);
        this.#rest -= taken;
        this.#countHeader(taken);
        at += taken;
      } else {
        at = this.#begin(bytes, at, end);
      }
    }
  }

  /** Reads of a header what is there; returns where the bytes end that it has taken. */
  #begin(bytes: Uint8Array, start: number, end: number): number {
    if (this.#have === 0) this.starts[this.count++] = start;
    const taken = Math.min(SIZE_END - this.#have, end - start);
    for (let i = 0; i < taken; i += 1) this.#head[this.#have + i] = bytes[start + i] ?? 0;
    this.#have += taken;
    this.#fragment = this.#have;
    if (this.#have < SIZE_END) return end;
    const size = this.#view.getUint32(SIZE_AT, littleEndian);
    this.#have = 0;
    this.#rest = size - SIZE_END;
    this.understood = size >= HEADER_SIZE;
    return start + taken;
  }

  #countHeader(taken: number): void {
    if (this.#fragment === 0) return;
    this.#fragment += taken;
    if (this.#fragment >= HEADER_SIZE) this.#fragment = 0;
  }
}
