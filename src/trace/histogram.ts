/** Buckets per power of two: a percentile is right to an eighth. */
const STEPS = 8;
/** Powers of two of nanoseconds: up to 2^43, more than two hours. */
const POWERS = 44;

/** Durations, of which it remembers how many there were of each length, roughly, and the longest. */
export class Histogram {
  count = 0;
  max = 0n;
  readonly #buckets = new Uint32Array(STEPS * POWERS);

  /** Adds a duration in nanoseconds. */
  add(nanoseconds: bigint): void {
    this.count += 1;
    if (nanoseconds > this.max) this.max = nanoseconds;
    const at = bucketOf(Number(nanoseconds));
    this.#buckets[at] = (this.#buckets[at] ?? 0) + 1;
  }

  /** The duration that `share` (0 to 1) of all are not longer than, in nanoseconds, rounded up by an eighth at most. */
  percentile(share: number): bigint {
    const wanted = Math.ceil(this.count * share);
    let seen = 0;
    for (let at = 0; at < this.#buckets.length && wanted > 0; at += 1) {
      seen += this.#buckets[at] ?? 0;
      if (seen >= wanted) return upTo(at) < this.max ? upTo(at) : this.max;
    }
    return this.max;
  }
}

function bucketOf(value: number): number {
  if (value < STEPS) return Math.max(0, value);
  const power = Math.min(POWERS - 1, Math.floor(Math.log2(value)));
  const step = Math.floor((value / 2 ** power - 1) * STEPS);
  return power * STEPS + Math.min(STEPS - 1, step);
}

/** The longest duration of a bucket. */
function upTo(at: number): bigint {
  if (at < STEPS) return BigInt(at);
  return BigInt(Math.ceil(2 ** Math.floor(at / STEPS) * (1 + ((at % STEPS) + 1) / STEPS)));
}
