import type { Native } from '../native/index.ts';
import { type Reactor, TransportError } from '../transport/index.ts';
import type { ServedConnection } from './served-connection.ts';
import { ServerError } from './server-error.ts';

/** Control connections at once. */
const MAX_CONTROLS = 8;
/** How long a second VMM is kept waiting for the first to go, in milliseconds: it may be the same one, reconnecting. */
const TURN_TIMEOUT_MS = 250;
/** How often it looks whether the first has gone, in milliseconds. */
const TURN_POLL_MS = 5;
/** poll(2): the peer has closed its end (poll.h). */
const POLLHUP = 0x10;

/** Who is connected: one VMM, some controllers, and those who have not been given a seat yet. */
export class Seats {
  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #controls = new Set<ServedConnection>();
  readonly #waiting = new Set<ServedConnection>();
  #main: ServedConnection | null = null;
  /** Who has said VERSION and waits for the VMM before to go. */
  #queueing = 0;

  constructor(native: Native, reactor: Reactor) {
    this.#native = native;
    this.#reactor = reactor;
  }

  /** The VMM's connection, or null. */
  get main(): ServedConnection | null {
    return this.#main;
  }

  /** How many control connections there are. */
  get controls(): number {
    return this.#controls.size;
  }

  /** Everybody, seated or not. */
  get all(): readonly ServedConnection[] {
    return [...this.#waiting, ...this.#controls, ...(this.#main === null ? [] : [this.#main])];
  }

  /** Whether somebody waits to be told whether there is a seat. */
  get unsettled(): boolean {
    return this.#queueing > 0;
  }

  /** Gives a connection the seat that it had in another process; false when that is taken. */
  takeUp(served: ServedConnection): boolean {
    return this.#enter(served);
  }

  /** Somebody has come and has not said VERSION yet. */
  arrive(served: ServedConnection): void {
    this.#waiting.add(served);
  }

  /**
   * Gives a connection that has said VERSION its seat. Answers at once, except for a second VMM: that waits a moment
   * for the first to go, because a reconnecting VMM must not be locked out by its own past. `replaces`: it is the one that
   * the first one is to make room for.
   */
  admit(
    served: ServedConnection,
    answer: (refusal: ServerError | null) => void,
    replaces: () => boolean = () => false,
  ): void {
    if (served.role === 'main' && this.#main !== null && replaces()) this.#main.connection.close(replaced());
    if (this.#enter(served)) return answer(null);
    if (served.role === 'control') return answer(tooMany());
    served.connection.hold();
    const giveUpAt = performance.now() + TURN_TIMEOUT_MS;
    this.#queueing += 1;
    const leaveQueue = (): void => {
      retry.close();
      this.#queueing -= 1;
    };
    const retry = this.#reactor.every(TURN_POLL_MS, () => {
      if (served.connection.closedBecause !== null) return leaveQueue();
      const late = performance.now() >= giveUpAt;
      if (late) this.#dismissDead();
      const entered = this.#enter(served);
      if (!entered && !late) return;
      leaveQueue();
      answer(entered ? null : occupied());
      if (entered) served.connection.release();
    });
  }

  /** A connection is over; whether it was the VMM's. */
  leave(served: ServedConnection): boolean {
    this.#waiting.delete(served);
    this.#controls.delete(served);
    if (this.#main !== served) return false;
    this.#main = null;
    return true;
  }

  #enter(served: ServedConnection): boolean {
    if (served.role === 'control') {
      if (this.#controls.size >= MAX_CONTROLS) return false;
      this.#controls.add(served);
    } else {
      if (this.#main !== null) return false;
      this.#main = served;
    }
    this.#waiting.delete(served);
    return true;
  }

  /** A connection that parks more than it may is not read any more, and so does not notice that its VMM has gone. */
  #dismissDead(): void {
    if (this.#main === null) return;
    const polled = Int32Array.of(this.#main.connection.fd, 0, 0);
    this.#native.poll(polled, 1, 0);
    if (((polled[2] ?? 0) & POLLHUP) === 0) return;
    this.#main.connection.close(new TransportError('ERR_CONNECTION_CLOSED', 'the VMM has gone'));
  }
}

function replaced(): TransportError {
  return new TransportError('ERR_CONNECTION_CLOSED', 'another VMM has come for the state that is kept');
}

function occupied(): ServerError {
  return new ServerError('ERR_BUSY', 'another VMM uses this device');
}

function tooMany(): ServerError {
  return new ServerError('ERR_BUSY', `there are ${MAX_CONTROLS} control connections already`);
}
