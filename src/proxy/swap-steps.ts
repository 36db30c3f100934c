/**
 * The steps of a swap, in order. Before `drain` the client notices nothing; a failure before `run` is undone. Those with
 * "ahead" do while the client goes on what would otherwise keep it waiting; what changes meanwhile is made good later.
 */
export const SWAP_STEPS = [
  'connect',
  'version',
  'prepare',
  'describe',
  'map ahead',
  'interrupts ahead',
  'copy ahead',
  'drain',
  'read configuration',
  'stop',
  'map',
  'copy',
  'interrupts',
  'finish',
  'configure',
  'run',
] as const;

/** One of {@link SWAP_STEPS}. */
export type SwapStep = (typeof SWAP_STEPS)[number];

/** How a swap went. */
export interface SwapReport {
  readonly from: string;
  readonly to: string;
  /** Bytes of device state that were carried over; null when it began afresh. */
  readonly stateBytes: number | null;
  /** Those of them that were carried over while the client went on. */
  readonly aheadBytes: number;
  /** How long the client's commands waited, and the whole swap, in milliseconds. */
  readonly heldMs: number;
  readonly totalMs: number;
  /** How long each step took that there was, in milliseconds. */
  readonly steps: Readonly<Partial<Record<SwapStep, number>>>;
  readonly dmaMaps: number;
  readonly vectors: number;
  readonly configWrites: number;
  /** What is not at the new back end, in words. */
  readonly lost: readonly string[];
}

/** In which step a swap is, and how long each has taken. Times in milliseconds, by performance.now(). */
export class StepClock {
  step: SwapStep = 'connect';
  readonly begunAt = performance.now();
  readonly durations: Partial<Record<SwapStep, number>> = {};
  #since = this.begunAt;

  /** The next step begins. */
  enter(step: SwapStep): void {
    this.note();
    this.step = step;
  }

  /** Counts what the present step has taken so far. */
  note(): void {
    const now = performance.now();
    this.durations[this.step] = now - this.#since;
    this.#since = now;
  }
}
