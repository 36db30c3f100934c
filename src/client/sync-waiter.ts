import { type Connection, type DedicatedReactor, TransportError } from '../transport/index.ts';
import { ClientError } from './client-error.ts';
import type { Settle } from './operation.ts';

/** Blocks the thread until something has settled, handling meanwhile whatever else arrives. */
export class SyncWaiter {
  readonly reactor: DedicatedReactor;
  readonly #timeoutMs: number;
  #waiting = false;

  /** Waits for replies are bounded by those who send the requests; `timeoutMs` bounds the wait for posted writes. */
  constructor(reactor: DedicatedReactor, timeoutMs: number) {
    this.reactor = reactor;
    this.#timeoutMs = timeoutMs;
  }

  /** Starts something and gives what it resolves with, or throws what it is rejected with. */
  settle<T>(start: (settle: Settle<T>) => void): T {
    const outcome = new Outcome<T>();
    this.enter();
    try {
      start(outcome);
      this.reactor.runUntil(outcome.isSettled, Number.POSITIVE_INFINITY);
    } finally {
      this.leave();
    }
    return outcome.value();
  }

  /** Waits until `connection` has sent everything, which posted writes may need. */
  drain(connection: Connection): void {
    const sent = (): boolean => connection.out.pending === 0 || connection.closedBecause !== null;
    if (this.reactor.runUntil(sent, this.#timeoutMs)) return;
    throw new TransportError('ERR_TIMEOUT', 'the server does not take what was sent to it');
  }

  /** A wait begins. Throws when one is under way: a callback of a client may not use the same client. */
  enter(): void {
    if (this.#waiting) {
      throw new ClientError(
        'ERR_CLIENT_ARGUMENT',
        'a callback of a synchronous client has called the same client',
      );
    }
    this.#waiting = true;
  }

  /** The wait is over. */
  leave(): void {
    this.#waiting = false;
  }
}

class Outcome<T> implements Settle<T> {
  #result: { readonly value: T } | { readonly error: unknown } | null = null;
  readonly isSettled = (): boolean => this.#result !== null;

  resolve(value: T): void {
    this.#result = { value };
  }

  reject(error: unknown): void {
    this.#result = { error };
  }

  value(): T {
    if (this.#result === null) throw new TransportError('ERR_TIMEOUT', 'the wait ended without a result');
    if ('error' in this.#result) throw this.#result.error;
    return this.#result.value;
  }
}
