import { decodeHeader, describeMessage, HEADER_SIZE } from '../protocol/index.ts';

/** One thing that happened between the two ends, as a report shows it. */
export interface Shown {
  /** `event` is no message: a connection that ends, a signal. */
  readonly kind: 'sent' | 'received' | 'event';
  /** Which connection: `main`, `control`, `second main`. */
  readonly channel: string;
  /** The message decoded, or the event. */
  readonly text: string;
  /** Its bytes, or the first of them; empty for an event. */
  readonly hex: string;
  /** How many bytes there were. */
  readonly bytes: number;
}

/** The most bytes of a message that are shown. */
const SHOWN_BYTES = 96;

/** The most events that are kept: a report shows the end of a conversation. */
const KEPT = 12;

/** The last things that happened between the two ends. Bounded, however long the conversation is. */
export class Exchange {
  #shown: Shown[] = [];

  /** Bytes that went one way: a message, or whatever it is that was sent in its place. */
  message(kind: 'sent' | 'received', channel: string, bytes: Uint8Array, fds = 0): void {
    const hex = Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString('hex');
    this.#add({ kind, channel, text: describeBytes(bytes, fds), hex, bytes: bytes.length });
  }

  /** Something that is no message. */
  event(channel: string, text: string): void {
    this.#add({ kind: 'event', channel, text, hex: '', bytes: 0 });
  }

  /** What is kept, oldest first. */
  get shown(): readonly Shown[] {
    return [...this.#shown];
  }

  #add(one: Shown): void {
    this.#shown.push(one);
    if (this.#shown.length > KEPT) this.#shown = this.#shown.slice(-KEPT);
  }
}

/** The most that one decoded line says. */
const LONGEST_TEXT = 400;

function describeBytes(bytes: Uint8Array, fds: number): string {
  if (bytes.length < HEADER_SIZE) return `${bytes.length} bytes`;
  const header = decodeHeader(bytes);
  const note = header.size === bytes.length ? '' : ` (its header says ${header.size} bytes)`;
  const text = describeMessage(header, bytes.subarray(HEADER_SIZE), fds);
  return `${text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}...` : text}${note}`;
}
