import { Errno } from '../errors/index.ts';

/** On two cores a wake-up costs 20 to 40 us; an answer that comes within this time is cheaper to wait for. */
export const DEFAULT_SPIN_US = 20;

/** After so many fruitless spins in a row there is a rest, which doubles up to MAX_REST looks. */
const PATIENCE = 4;
const MIN_REST = 4;
const MAX_REST = 512;

/** Where something is looked for. */
export interface Watched {
  /** Takes what is there: a positive count, 0 at the end, or a negated errno, of which EAGAIN means nothing yet. */
  look(): number;
}

/** Looks for something again and again, briefly, and less often the less that pays: as native/channel.c does. */
export class Spin {
  readonly #milliseconds: number;
  #misses = 0;
  #rest = 0;
  #resting = 0;

  /** `microseconds`: how long one spin lasts at most; 0 never spins. */
  constructor(microseconds: number) {
    this.#milliseconds = microseconds / 1000;
  }

  /** What is found before `end` (performance.now()), or -EAGAIN. */
  wait(watched: Watched, end: number): number {
    if (this.#milliseconds === 0) return -Errno.EAGAIN;
    if (this.#resting > 0) {
      this.#resting -= 1;
      return -Errno.EAGAIN;
    }
    // What is there already says nothing about spinning.
    let result = watched.look();
    if (result !== -Errno.EAGAIN) return result;
    const start = performance.now();
    const last = Math.min(end, start + this.#milliseconds);
    while (result === -Errno.EAGAIN && performance.now() < last) result = watched.look();
    if (result === -Errno.EAGAIN) this.#failed();
    else this.#paid();
    return result;
  }

  #paid(): void {
    this.#misses = 0;
    this.#rest = 0;
  }

  #failed(): void {
    this.#misses += 1;
    if (this.#misses < PATIENCE) return;
    this.#rest = Math.min(MAX_REST, Math.max(MIN_REST, this.#rest * 2));
    this.#resting = this.#rest;
  }
}
