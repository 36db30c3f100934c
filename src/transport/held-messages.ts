import type { IncomingMessage } from './incoming-message.ts';

/** A command that waits to be handled, copied out of the receive buffer with the fds it brought. */
export interface HeldMessage {
  readonly bytes: Uint8Array;
  readonly fds: number[];
  /** When it arrived, by performance.now(). */
  readonly since: number;
  /** Whether its sender waits for a reply. */
  readonly owed: boolean;
}

/** How much a connection keeps before it stops reading, in bytes. */
const MAX_BYTES = 2 * 1024 * 1024;
/** How many commands a connection keeps before it stops reading. */
const MAX_MESSAGES = 16 * 1024;

/** How many of their fds a connection keeps before it stops reading. */
const MAX_FDS = 1024;

/** Commands that arrived while their connection was held, in order. */
export class HeldMessages {
  #queue: HeldMessage[] = [];
  #bytes = 0;
  #fds = 0;

  /** Commands that wait. */
  get length(): number {
    return this.#queue.length;
  }

  /** Whether the connection should stop reading. */
  get full(): boolean {
    return this.#bytes >= MAX_BYTES || this.#queue.length >= MAX_MESSAGES || this.#fds >= MAX_FDS;
  }

  /**
   * Since when somebody may wait for a reply: when the oldest command arrived that wants one, or, when the queue is full
   * and nothing behind it is read any more, the oldest of all; null when nobody waits.
   */
  get owedSince(): number | null {
    const oldest = this.full ? this.#queue[0] : this.#queue.find(({ owed }) => owed);
    return oldest?.since ?? null;
  }

  /** Copies `message` (whose header begins `headerSize` bytes before its payload) to the end of the queue. */
  push(message: IncomingMessage, headerSize: number): void {
    const bytes = message.bytes.slice(message.start - headerSize, message.end);
    const fds = message.takeFds();
    this.#queue.push({ bytes, fds, since: performance.now(), owed: !message.noReply });
    this.#bytes += bytes.length;
    this.#fds += fds.length;
  }

  /** The oldest command, taken out; undefined when none waits. */
  shift(): HeldMessage | undefined {
    const held = this.#queue.shift();
    if (held !== undefined) {
      this.#bytes -= held.bytes.length;
      this.#fds -= held.fds.length;
    }
    return held;
  }

  /** Puts the command that {@link shift} returned back in its place. */
  unshift(held: HeldMessage): void {
    this.#queue.unshift(held);
    this.#bytes += held.bytes.length;
    this.#fds += held.fds.length;
  }

  /** The commands that wait, in order; they stay here. */
  list(): readonly HeldMessage[] {
    return this.#queue;
  }

  /** Takes out everything. */
  takeAll(): HeldMessage[] {
    const all = this.#queue;
    this.#queue = [];
    this.#bytes = 0;
    this.#fds = 0;
    return all;
  }
}
