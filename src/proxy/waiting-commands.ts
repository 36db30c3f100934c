import type { Native } from '../native/index.ts';
import { HEADER_SIZE } from '../protocol/index.ts';
import { type Closeable, HeldMessages, IncomingMessage, type Reactor } from '../transport/index.ts';

/** What the waiting commands of a session are made of. */
export interface WaitingCommandsOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** How long a client may wait for an answer while there is no back end, in milliseconds. */
  readonly limitMs: number;
}

/** How often it looks whether a client has waited too long, in milliseconds. */
const LOOK_MS = 50;

/** Commands of a client that wait, in order: for the end of a swap, or for another back end. */
export class WaitingCommands {
  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #limitMs: number;
  readonly #held = new HeldMessages();
  /** What is given out: a command as it came. */
  readonly #message = new IncomingMessage();
  #clock: Closeable | null = null;

  constructor({ native, reactor, limitMs }: WaitingCommandsOptions) {
    this.#native = native;
    this.#reactor = reactor;
    this.#limitMs = limitMs;
  }

  /** How many wait. */
  get length(): number {
    return this.#held.length;
  }

  /** Whether no more of them should be read. */
  get full(): boolean {
    return this.#held.full;
  }

  /** Another one waits. */
  push(message: IncomingMessage): void {
    this.#held.push(message, HEADER_SIZE);
  }

  /** One that had been passed on waits again, before all others: `bytes` is the whole message, which has no fds. */
  pushBack(bytes: Uint8Array): void {
    this.#held.unshift({ bytes, fds: [], since: performance.now(), owed: true });
  }

  /** Gives out the oldest ones, as long as `passes` says that it has taken one; fds that it leaves are closed. */
  release(passes: (message: IncomingMessage) => boolean): void {
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) {
      this.#point(held.bytes, held.fds);
      if (!passes(this.#message)) return this.#held.unshift(held);
      this.#closeAll(this.#message.takeFds());
    }
  }

  /** From now on `expired` is called when the client has waited too long. */
  watch(expired: () => void): void {
    this.#clock ??= this.#reactor.every(LOOK_MS, () => {
      const since = this.#held.owedSince;
      if (since !== null && performance.now() - since > this.#limitMs) expired();
    });
  }

  /** There is a back end again, which answers in its own time. */
  unwatch(): void {
    this.#clock?.close();
    this.#clock = null;
  }

  /** Gives out all of them without their fds. */
  giveUp(each: (message: IncomingMessage) => void): void {
    for (const { bytes, fds } of this.#held.takeAll()) {
      this.#closeAll(fds);
      this.#point(bytes, []);
      each(this.#message);
    }
  }

  #point(bytes: Uint8Array, fds: number[]): void {
    this.#message.point(bytes, new DataView(bytes.buffer), 0, bytes.length, fds);
  }

  #closeAll(fds: readonly number[]): void {
    for (const fd of fds) this.#native.close(fd);
  }
}
