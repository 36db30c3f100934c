/** What a hold tells of itself, for people who ask. Times in milliseconds. */
export interface HoldReport {
  readonly active: boolean;
  /** Length of the current hold so far, or of the last one. */
  readonly lengthMs: number;
  readonly longestMs: number;
  readonly count: number;
  /** The limit passed with a command waiting: accesses get EBUSY until the device runs. */
  readonly expired: boolean;
  /** Posted writes dropped by expired holds, since the start. */
  readonly droppedWrites: number;
}

/**
 * Whether the control side keeps the device from its VMM, and whether the device's state is elsewhere. Knows no
 * sockets and no clock of its own.
 */
export class Hold {
  readonly #now: () => number;
  #since: number | null = null;
  #lengthMs = 0;
  #longestMs = 0;
  #count = 0;
  /** The state has been taken away (STOP_COPY) or is not loaded yet (RESUMING): a write to it now would be lost. */
  stateElsewhere = false;
  expired = false;
  droppedWrites = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether the device is held. */
  get active(): boolean {
    return this.#since !== null;
  }

  /** Begins a hold; false when there is one already. */
  begin(): boolean {
    if (this.active) return false;
    this.#since = this.#now();
    this.#count += 1;
    this.expired = false;
    return true;
  }

  /** Ends the hold; false when there is none. */
  end(): boolean {
    if (this.#since === null) return false;
    this.#lengthMs = this.#now() - this.#since;
    this.#longestMs = Math.max(this.#longestMs, this.#lengthMs);
    this.#since = null;
    this.expired = false;
    this.stateElsewhere = false;
    return true;
  }

  /** What to tell people. */
  report(): HoldReport {
    const lengthMs = this.#since === null ? this.#lengthMs : this.#now() - this.#since;
    const { active, expired, droppedWrites } = this;
    const longestMs = Math.max(this.#longestMs, lengthMs);
    return { active, lengthMs, longestMs, count: this.#count, expired, droppedWrites };
  }
}
