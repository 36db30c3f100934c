import { decodeHeader, HEADER_SIZE, type Header } from '../../protocol/index.ts';
import { joined } from './bytes.ts';

/** A message as it came. */
export interface Received {
  readonly header: Header;
  readonly payload: Uint8Array;
  /** Owned by the wire, which closes them when it ends. */
  readonly fds: readonly number[];
  /** Header and payload. */
  readonly bytes: Uint8Array;
}

/** The largest message that is taken from the other end: more than any that the suite asks for. */
export const LARGEST_MESSAGE = 64 * 1024 * 1024;

/** Cuts a stream into messages. Fds go to the message that has the last byte of their read, as the kernel guarantees. */
export class MessageCutter {
  #pieces: Uint8Array[] = [];
  #length = 0;
  #taken = 0;
  #fds: { readonly end: number; readonly fds: readonly number[] }[] = [];
  #impossible: number | null = null;

  /** The size that the other end's header claims, if no message can have it: nothing can be cut any more. */
  get impossible(): number | null {
    return this.#impossible;
  }

  /** Bytes that are no whole message yet. */
  get pending(): number {
    return this.#length;
  }

  /** Takes the bytes of one read, which have to stay as they are, and what messages they complete. */
  add(bytes: Uint8Array, fds: readonly number[]): readonly Received[] {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    if (fds.length > 0) this.#fds.push({ end: this.#taken + this.#length, fds });
    const messages: Received[] = [];
    for (let one = this.#cut(); one !== null; one = this.#cut()) messages.push(one);
    return messages;
  }

  #cut(): Received | null {
    if (this.#length < HEADER_SIZE || this.#impossible !== null) return null;
    if ((this.#pieces[0]?.length ?? 0) < HEADER_SIZE) this.#merge();
    const header = decodeHeader(this.#pieces[0] ?? new Uint8Array());
    if (header.size < HEADER_SIZE || header.size > LARGEST_MESSAGE) {
      this.#impossible = header.size;
      return null;
    }
    if (this.#length < header.size) return null;
    return this.#take(header);
  }

  #take(header: Header): Received {
    this.#merge();
    const all = this.#pieces[0] ?? new Uint8Array();
    const bytes = all.subarray(0, header.size);
    this.#pieces = [all.subarray(header.size)];
    this.#length -= header.size;
    this.#taken += header.size;
    const mine = this.#fds.filter(({ end }) => end <= this.#taken);
    this.#fds = this.#fds.filter(({ end }) => end > this.#taken);
    return { header, bytes, payload: bytes.subarray(HEADER_SIZE), fds: mine.flatMap(({ fds }) => fds) };
  }

  #merge(): void {
    if (this.#pieces.length > 1) this.#pieces = [joined(...this.#pieces)];
  }
}
