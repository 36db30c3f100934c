import type { Closeable, Reactor } from '../transport/index.ts';

/** How often it looks whether a command has waited too long, in milliseconds. */
const PERIOD_MS = 50;

/** Who waits in a hold, and for how long it may. */
export interface HoldClockOptions {
  readonly reactor: Reactor;
  /** Milliseconds that a command may wait. */
  readonly limitMs: number;
  /** Since when (performance.now()) somebody waits; null when nobody does. */
  readonly waitingSince: () => number | null;
  /** Somebody has waited too long. Called once for each {@link HoldClock.start}. */
  readonly expired: () => void;
}

/** Notices that a hold lasts longer than a VMM waits. */
export class HoldClock {
  readonly #options: HoldClockOptions;
  #ticks: Closeable | null = null;

  constructor(options: HoldClockOptions) {
    this.#options = options;
  }

  /** A hold begins. */
  start(): void {
    this.stop();
    this.#ticks = this.#options.reactor.every(PERIOD_MS, () => this.#look());
  }

  /** The hold is over. Idempotent. */
  stop(): void {
    this.#ticks?.close();
    this.#ticks = null;
  }

  #look(): void {
    const since = this.#options.waitingSince();
    if (since === null || performance.now() - since <= this.#options.limitMs) return;
    this.stop();
    this.#options.expired();
  }
}
