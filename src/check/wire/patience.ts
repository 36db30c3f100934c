/** How late a timer may fire before the time that passed is no evidence against anybody but this process. */
const LATE_MS = 250;

/**
 * How long the other end is waited for. Time in which this process could not run does not count: it would blame the
 * other end, which may share the processor, for what nobody could have seen.
 */
export class Patience {
  readonly #ms: number;
  #deadline: number;
  #extended = false;

  constructor(ms: number) {
    this.#ms = ms;
    this.#deadline = performance.now() + ms;
  }

  /** Milliseconds that are left, 0 when the time is up. */
  get left(): number {
    const left = this.#deadline - performance.now();
    if (left > 0) return left;
    if (left > -LATE_MS || this.#extended) return 0;
    this.#extended = true;
    this.#deadline = performance.now() + this.#ms;
    return this.#ms;
  }
}
