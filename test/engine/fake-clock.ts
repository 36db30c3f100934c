import type { Clock } from '../../src/engine/index.ts';

interface Timer {
  readonly due: number;
  readonly run: () => void;
}

/** Time that stands still until somebody waits in vain. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): { close(): void } {
    const timer: Timer = { due: this.#now + ms, run };
    this.#timers.add(timer);
    return { close: () => this.#timers.delete(timer) };
  }

  /** Lets time pass; timers run in order. */
  advance(ms: number): void {
    const until = this.#now + ms;
    while (this.#runNext(until));
    this.#now = until;
  }

  /** Lets time pass until the next timer is due, and runs it. False: there is none. */
  step(): boolean {
    return this.#runNext(Number.POSITIVE_INFINITY);
  }

  get pending(): number {
    return this.#timers.size;
  }

  #runNext(until: number): boolean {
    const next = [...this.#timers].filter((each) => each.due <= until).sort((a, b) => a.due - b.due)[0];
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#now = Math.max(this.#now, next.due);
    next.run();
    return true;
  }
}
