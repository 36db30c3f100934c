import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { queueFull, sendFailed } from './connection-errors.ts';
import type { Reactor, SocketPort } from './reactor.ts';
import { SendBuffer } from './send-buffer.ts';

/** What an outbox is made of. */
export interface OutboxOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly fd: number;
  /** Longest message, header included, in bytes. */
  readonly maxMessage: number;
  /** Memory for it that was made before. */
  readonly prepared?: Uint8Array | undefined;
  /** A send has failed for good, or there is no room for what was begun: the connection is over. */
  readonly failed: (reason: FerryError) => void;
}

/** Unsent bytes from which a peer counts as not reading. */
const BACKLOG = 64 * 1024;

/**
 * When a connection's messages are sent: those that are begun while received ones are handled go together when that is
 * done, others at the end of the turn. Knows who waits until everything has gone.
 */
export class Outbox {
  readonly buffer: SendBuffer;
  /** Received messages are being handled: whoever does that flushes. */
  gathering = false;
  readonly #reactor: Reactor;
  readonly #failed: (reason: FerryError) => void;
  #port: SocketPort | null = null;
  #drained: (() => void)[] = [];
  #flushPlanned = false;
  /** The job of {@link #planFlush} waits in the reactor, which may be for as long as its owner only posts. */
  #flushDeferred = false;
  #shut = false;

  constructor({ native, reactor, fd, maxMessage, prepared, failed }: OutboxOptions) {
    this.buffer = new SendBuffer(native, fd, maxMessage, prepared);
    this.#reactor = reactor;
    this.#failed = failed;
  }

  /** Whether the port may send what there is, with nothing else to do about it. */
  get plain(): boolean {
    return this.buffer.plain && this.#drained.length === 0;
  }

  /** A peer that does not read its replies gets no more of them until it does. */
  get backedUp(): boolean {
    return this.buffer.pending > 0 && this.buffer.pending >= BACKLOG && !this.buffer.flush();
  }

  /** Whether somebody waits until everything has been sent. */
  get awaited(): boolean {
    return this.#drained.length > 0;
  }

  /** From now on nothing is sent, until {@link thaw}. */
  freeze(): void {
    this.buffer.withhold();
    this.#port?.awaitWritable(false);
  }

  /** Messages are sent again. */
  thaw(): void {
    this.buffer.release();
    this.flush();
  }

  /** Tells `port` when to wait for room in the socket. */
  serve(port: SocketPort): void {
    this.#port = port;
  }

  /** Begins a message, as {@link SendBuffer.begin} does. -1 when there is no room, or the connection is over. */
  begin(id: number, command: number, flags: number, error: number, payloadSize: number): number {
    if (this.#shut) return -1;
    const at = this.buffer.begin(id, command, flags, error, payloadSize);
    if (!this.gathering && !this.#flushPlanned) this.#planFlush();
    return at;
  }

  /** Sends what was begun, and `body` as the tail of the newest message. */
  sendBody(body: Uint8Array): void {
    if (!this.buffer.flushWith(body)) this.#failed(queueFull(0));
    this.#afterFlush();
  }

  /** Sends what was begun now. */
  flush(): void {
    this.#flushPlanned = false;
    if (this.#shut || this.buffer.withheld) return;
    this.buffer.flush();
    this.#afterFlush();
  }

  /** The socket takes data again; whether nothing is left. */
  writable(): boolean {
    const drained = this.buffer.flush();
    this.#afterFlush();
    return drained;
  }

  /** Calls `run` when everything has been sent, or when the connection is over. */
  whenDrained(run: () => void): void {
    if (this.buffer.pending === 0 || this.#shut) return this.#reactor.defer(run);
    this.#drained.push(run);
    if (!this.gathering && !this.#flushPlanned) this.#planFlush();
  }

  /** Nothing is begun or sent any more; who waited is the caller's to call. */
  shut(): (() => void)[] {
    this.#shut = true;
    return this.#drained.splice(0);
  }

  /** One send for everything that is begun in the same turn, and one job for it, however often it is planned. */
  #planFlush(): void {
    this.#flushPlanned = true;
    if (this.#flushDeferred) return;
    this.#flushDeferred = true;
    this.#reactor.defer(this.#plannedFlush);
  }

  readonly #plannedFlush = (): void => {
    this.#flushDeferred = false;
    if (this.#flushPlanned) this.flush();
  };

  #afterFlush(): void {
    if (this.#shut) return;
    if (this.buffer.failure !== 0) {
      this.#failed(sendFailed(this.buffer.failure));
      return;
    }
    const drained = this.buffer.pending === 0;
    this.#port?.awaitWritable(!drained);
    if (drained && this.#drained.length > 0) for (const run of this.#drained.splice(0)) run();
  }
}
