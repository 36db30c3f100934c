/** How long a burst may be, in milliseconds of the rate: timers are not more exact. */
const BURST_MS = 10;

/** Limits bytes per second. What is sent at once may be more than is left; then the next has to wait longer. */
export class RateLimiter {
  readonly #now: () => number;
  #rate: number | null = null;
  /** Bytes that may be sent at #since; negative: ahead of the rate. */
  #balance = 0;
  #since = 0;

  /** `now`: milliseconds that never go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Bytes per second; null: no limit. */
  get rate(): number | null {
    return this.#rate;
  }

  /** Changes the limit. What has been sent too early under the old one is forgiven. */
  set(bytesPerSecond: number | null): void {
    this.#rate = bytesPerSecond;
    this.#balance = 0;
    this.#since = this.#now();
  }

  /** So many bytes were sent. */
  spend(bytes: number): void {
    if (this.#rate !== null) this.#balance -= bytes;
  }

  /** How long to wait before more is sent, in milliseconds; 0: nothing to wait for. */
  wait(): number {
    if (this.#rate === null) return 0;
    const now = this.#now();
    const most = (this.#rate * BURST_MS) / 1000;
    this.#balance = Math.min(most, this.#balance + ((now - this.#since) * this.#rate) / 1000);
    this.#since = now;
    return this.#balance >= 0 ? 0 : Math.ceil((-this.#balance * 1000) / this.#rate);
  }
}
