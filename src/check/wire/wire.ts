import { setTimeout as delay } from 'node:timers/promises';
import { Errno, errnoName } from '../../errors/index.ts';
import type { Native, WatchHandle } from '../../native/index.ts';
import { commandName, HeaderFlag, isCommand, isReply } from '../../protocol/index.ts';
import type { Exchange } from '../exchange.ts';
import { broken, inconclusive } from '../verdict.ts';
import { rawMessage } from './bytes.ts';
import { MessageCutter, type Received } from './message-cutter.ts';
import { Patience } from './patience.ts';

/** What a {@link Wire} has to know. */
export interface WireOptions {
  readonly native: Native;
  /** Connected, non-blocking; the wire's from then on. */
  readonly fd: number;
  /** How reports call it. */
  readonly channel: string;
  readonly exchange: Exchange;
  /** How long each wait may take, milliseconds. */
  readonly timeoutMs: number;
}

/** How one request is sent. */
export interface RequestOptions {
  readonly fds?: readonly number[];
  readonly flags?: number;
  readonly id?: number;
  readonly timeoutMs?: number;
}

/** How much of what was sent the other end has not read (unix(7)). */
const SIOCOUTQ = 0x5411;
const LONGEST_UNREAD_MS = 250;
const READ_SIZE = 256 * 1024;
const MOST_FDS = 254;
const scratch = { bytes: new Uint8Array(READ_SIZE), fds: new Int32Array(MOST_FDS) };

/**
 * A connection on which anything can be said, right or wrong. Every wait is bounded, and what the other end does not
 * do in time is a broken rule. Everything that is sent and received goes into the exchange.
 */
export class Wire {
  readonly channel: string;
  readonly fd: number;
  readonly timeoutMs: number;
  /** Told of each command of the other end, which is not queued then. Null: they are queued as replies are. */
  onCommand: ((message: Received) => void) | null = null;
  readonly #options: WireOptions;
  readonly #cutter = new MessageCutter();
  readonly #fds: number[] = [];
  readonly #watch: WatchHandle;
  #queue: Received[] = [];
  #waiting: (() => void)[] = [];
  #ended: string | null = null;
  #released = false;
  #nextId = 1;

  constructor(options: WireOptions) {
    this.#options = options;
    this.channel = options.channel;
    this.fd = options.fd;
    this.timeoutMs = options.timeoutMs;
    const watch = options.native.watchStart(options.fd, () => this.#read());
    if (typeof watch === 'number') {
      options.native.close(options.fd);
      inconclusive(`the socket can't be watched: ${errnoName(-watch)}`);
    }
    this.#watch = watch;
  }

  /** Why the connection is over; null while it is not. */
  get ended(): string | null {
    return this.#ended;
  }

  /** The size that a header of the other end claims, if no message can have it; null: there was none. */
  get impossible(): number | null {
    return this.#cutter.impossible;
  }

  /** Sends bytes as they are, with fds on the first of them; waits while the socket is full. */
  async send(bytes: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const { exchange, native } = this.#options;
    exchange.message('sent', this.channel, bytes, fds.length);
    const patience = new Patience(this.timeoutMs);
    for (let at = 0; at < bytes.length; ) {
      const attached = at === 0 && fds.length > 0 ? fds : null;
      const sent = native.send(this.fd, bytes, at, bytes.length - at, null, 0, 0, attached);
      if (sent > 0) at += sent;
      else if (sent !== -Errno.EAGAIN) broken(this.#gone(-sent), 'it to go on reading');
      else if (patience.left === 0)
        broken('it stopped reading: its socket stays full', 'it to go on reading');
      if (at < bytes.length) await delay(1);
    }
  }

  /**
   * Waits until the other end has read all that was sent, so that it finds what comes next by itself; not for long, since
   * it may read later.
   */
  async wasRead(): Promise<void> {
    const patience = new Patience(Math.min(this.timeoutMs, LONGEST_UNREAD_MS));
    const unread = new Int32Array(1);
    const bytes = new Uint8Array(unread.buffer);
    while (patience.left > 0 && this.#ended === null) {
      const failed = this.#options.native.ioctl(this.fd, SIOCOUTQ, bytes, null, 0) < 0;
      if (failed || unread[0] === 0) return;
      await delay(1);
    }
  }

  /** Sends a command without waiting; returns its id. */
  async post(command: number, payload: Uint8Array, options: RequestOptions = {}): Promise<number> {
    const { fds, flags = 0, id = this.nextId() } = options;
    await this.send(rawMessage(command, payload, { id, flags }), fds);
    return id;
  }

  /** Sends a command and waits for its reply, whatever that says. */
  async request(command: number, payload: Uint8Array, options: RequestOptions = {}): Promise<Received> {
    const id = await this.post(command, payload, options);
    return this.reply(id, commandName(command), options.timeoutMs);
  }

  /** Waits for the reply with an id. */
  reply(id: number, to: string, timeoutMs = this.timeoutMs): Promise<Received> {
    const fits = ({ header }: Received): boolean => isReply(header.flags) && header.messageId === id;
    return this.next(`a reply to ${to}`, fits, timeoutMs);
  }

  /** Waits for the next command of the other end. */
  command(what: string, timeoutMs = this.timeoutMs): Promise<Received> {
    return this.next(what, ({ header }) => isCommand(header.flags), timeoutMs);
  }

  /** Waits for the next message that fits. */
  async next(
    what: string,
    fits: (message: Received) => boolean = () => true,
    timeoutMs = this.timeoutMs,
  ): Promise<Received> {
    const patience = new Patience(timeoutMs);
    for (;;) {
      const found = this.take(fits);
      if (found !== null) return found;
      if (this.#ended !== null) broken(`${this.#ended} instead of sending ${what}`, what);
      const left = patience.left;
      if (left === 0) broken(`there was no answer within ${timeoutMs} ms`, what);
      await this.#arrival(left);
    }
  }

  /** Takes a message that has come already; null when none fits. */
  take(fits: (message: Received) => boolean = () => true): Received | null {
    const index = this.#queue.findIndex(fits);
    return index < 0 ? null : (this.#queue.splice(index, 1)[0] ?? null);
  }

  /** Waits until the other end has closed; false when it has not in time. */
  async closes(timeoutMs = this.timeoutMs): Promise<boolean> {
    const patience = new Patience(timeoutMs);
    while (this.#ended === null && patience.left > 0) await this.#arrival(patience.left);
    return this.#ended !== null;
  }

  /** Waits for a reply to `id` or the end of the connection, whichever comes; null for the end. */
  async replyOrEnd(id: number, to: string, timeoutMs = this.timeoutMs): Promise<Received | null> {
    const fits = ({ header }: Received): boolean => isReply(header.flags) && header.messageId === id;
    const patience = new Patience(timeoutMs);
    for (;;) {
      const found = this.take(fits);
      if (found !== null || this.#ended !== null) return found;
      if (patience.left === 0) {
        broken(
          `it neither answered ${to} nor closed the connection within ${timeoutMs} ms`,
          'an error reply, or the end of the connection',
        );
      }
      await this.#arrival(patience.left);
    }
  }

  /** Answers a command of the other end. */
  answer(message: Received, payload: Uint8Array, { error = 0 } = {}): Promise<void> {
    const { messageId: id, command } = message.header;
    const flags = error === 0 ? 1 : 1 | HeaderFlag.ERROR;
    return this.send(rawMessage(command, payload, { id, flags, error }));
  }

  /** The next id for a message. */
  nextId(): number {
    const id = this.#nextId;
    this.#nextId = (id + 1) & 0xffff;
    return id;
  }

  /** Stops reading for good, so that what the other end sends stays in the kernel. */
  pause(): void {
    this.#options.native.watchClose(this.#watch);
  }

  /** Ends the connection and closes every fd that came over it. Idempotent. */
  close(): void {
    if (this.#released) return;
    this.#released = true;
    const { native } = this.#options;
    this.#end('it was closed here');
    native.close(this.fd);
    for (const fd of this.#fds) native.close(fd);
  }

  #arrival(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #read(): void {
    const count = this.#options.native.receive(this.fd, scratch.bytes, 0, READ_SIZE, scratch.fds, 0);
    if (count === -Errno.EAGAIN) return;
    if (count <= 0) this.#end(count === 0 ? 'it closed the connection' : this.#gone(-count));
    else this.#take(scratch.bytes.slice(0, count));
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #take(bytes: Uint8Array): void {
    const fds = [...scratch.fds.subarray(1, 1 + (scratch.fds[0] ?? 0))];
    this.#fds.push(...fds);
    for (const message of this.#cutter.add(bytes, fds)) {
      this.#options.exchange.message('received', this.channel, message.bytes, message.fds.length);
      if (this.onCommand !== null && isCommand(message.header.flags)) this.onCommand(message);
      else this.#queue.push(message);
    }
    const { impossible } = this.#cutter;
    if (impossible !== null) this.#end(`it sent a header that says ${impossible} bytes`);
  }

  #gone(errno: number): string {
    const closed: readonly number[] = [Errno.EPIPE, Errno.ECONNRESET, Errno.ENOTCONN];
    return closed.includes(errno)
      ? 'it closed the connection'
      : `the connection failed with ${errnoName(errno)}`;
  }

  #end(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    const left = this.#cutter.pending;
    const cut = left === 0 ? '' : `, ${left} bytes of an unfinished message before`;
    if (!this.#released) this.#options.exchange.event(this.channel, `${reason}${cut}`);
    this.#options.native.watchClose(this.#watch);
  }
}
