/** How long the line rests, in milliseconds. */
const REST_MS = 1;

/** What a {@link SerialPace} needs of its UART. */
export interface SerialPaceOptions {
  /** Calls `run` when the device has run for `ms` milliseconds more; a reset forgets it. */
  readonly after: (ms: number, run: () => void) => void;
  /** The line may bring more. */
  readonly rested: () => void;
}

/**
 * How fast a serial line brings bytes. They take no time on it, whatever the divisor says. But a driver empties its FIFO
 * in its interrupt handler, and a line that always had more would never let it out of there: Linux reports a soft lockup.
 * So it brings a FIFO of bytes, and no more before the guest has taken them all and the line has rested: it carries some
 * kilobytes per second, like any serial line. The rest begins when the FIFO is empty, however long that took, because a
 * guest may take longer to read a byte than a line to bring it. A rest does not travel: the next line begins afresh.
 */
export class SerialPace {
  readonly #options: SerialPaceOptions;
  /** Bytes since the last rest. */
  #brought = 0;
  #resting = false;

  constructor(options: SerialPaceOptions) {
    this.#options = options;
  }

  /** How many bytes the line may bring now into a FIFO that holds `capacity`. */
  allowance(capacity: number): number {
    return this.#resting ? 0 : Math.max(0, capacity - this.#brought);
  }

  /** The line has brought `count` bytes. */
  bring(count: number): void {
    this.#brought += count;
  }

  /** The FIFO has become empty. */
  emptied(): void {
    if (this.#brought === 0) return this.#options.rested();
    if (this.#resting) return;
    this.#resting = true;
    this.#options.after(REST_MS, () => {
      this.reset();
      this.#options.rested();
    });
  }

  /** The line has rested, or the device has been reset and forgotten that it does. */
  reset(): void {
    this.#resting = false;
    this.#brought = 0;
  }
}
