/** How long to measure at least, in milliseconds. */
const SPAN = 25;
/** How much a new figure counts in the average. */
const WEIGHT = 0.3;

/** Measures how fast the connections take bytes, only while something waits for them. */
export class LinkMeter {
  #rate: number | null = null;
  #since: number | null = null;
  #bytes = 0;

  /** Bytes per millisecond; null before the first measurement. */
  get rate(): number | null {
    return this.#rate;
  }

  /** `sent`: bytes that have gone so far in all; `congested`: whether something waits. */
  note(now: number, sent: number, congested: boolean): void {
    if (this.#since === null) {
      if (!congested) return;
      this.#since = now;
      this.#bytes = sent;
      return;
    }
    const elapsed = now - this.#since;
    if (elapsed >= SPAN) {
      const rate = (sent - this.#bytes) / elapsed;
      this.#rate = this.#rate === null ? rate : this.#rate + (rate - this.#rate) * WEIGHT;
      this.#since = congested ? now : null;
      this.#bytes = sent;
    } else if (!congested) this.#since = null;
  }
}
