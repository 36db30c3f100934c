/** When to compress: where it pays, always, or never. */
export type CompressionMode = 'auto' | 'on' | 'off';

/** Below this many bytes there is nothing to gain. */
const LEAST = 512;
/** A frame that does not shrink below this part of itself is sent as it is. */
export const WORTHWHILE = 0.9;
/** By how much the stream has to become faster. */
const GAIN = 1.1;
/** After a try that did not pay so many frames go without; twice as many after each further one. */
const MIN_REST = 8;
const MAX_REST = 1024;
/** How much a new figure counts in an average. */
const WEIGHT = 0.25;

/** What is known when a frame is about to be sent. */
export interface LinkCondition {
  /** Whether the connection is what everything waits for. */
  readonly congested: boolean;
  /** Bytes per millisecond that the connection takes; null: not known yet. */
  readonly rate: number | null;
}

/** What became of a frame that was compressed. */
export interface CompressionResult {
  readonly raw: number;
  readonly compressed: number;
  readonly ms: number;
  /** How many frames were being compressed at the same time. */
  readonly parallel: number;
}

/**
 * Decides for each frame whether to compress it. In `auto` it does so while the connection is the bottleneck and the
 * measured ratio and speed make the stream faster; otherwise it tries now and then, more and more rarely.
 */
export class CompressionPolicy {
  readonly #mode: CompressionMode;
  /** Averages: compressed size to raw size, and raw bytes per millisecond of all threads together. */
  #ratio: number | null = null;
  #speed: number | null = null;
  #rest = 0;
  #resting = 0;

  constructor(mode: CompressionMode) {
    this.#mode = mode;
  }

  /** Whether to compress a frame of so many bytes. */
  wants(bytes: number, link: LinkCondition): boolean {
    if (this.#mode === 'off' || bytes < LEAST) return false;
    if (this.#mode === 'on') return true;
    if (!link.congested) return false;
    if (this.#pays(link.rate)) return true;
    if (this.#resting > 0) {
      this.#resting -= 1;
      return false;
    }
    this.#rest = Math.min(Math.max(MIN_REST, this.#rest * 2), MAX_REST);
    this.#resting = this.#rest;
    return true;
  }

  /** A frame was compressed. */
  measured({ raw, compressed, ms, parallel }: CompressionResult): void {
    this.#ratio = average(this.#ratio, compressed / raw);
    this.#speed = average(this.#speed, (raw / Math.max(ms, 0.01)) * parallel);
  }

  #pays(rate: number | null): boolean {
    if (this.#ratio === null || this.#speed === null || rate === null) return false;
    const pays = this.#ratio < WORTHWHILE && Math.min(this.#speed, rate / this.#ratio) > rate * GAIN;
    if (pays) this.#rest = 0;
    return pays;
  }
}

function average(before: number | null, value: number): number {
  return before === null ? value : before + (value - before) * WEIGHT;
}
