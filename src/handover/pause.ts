/** How long nobody served the clients of a device, and with what that was spent. All in milliseconds. */
export interface Pause {
  readonly totalMs: number;
  /** The old process stopped the device, and put together what was left of its state and everything else. */
  readonly saveMs: number;
  /** It was on its way: sent, the new process woken up, received. */
  readonly passMs: number;
  /** The new process read it, loaded the state, mapped memory, and took the device. */
  readonly loadMs: number;
  /** It set the device running, and dealt with what clients had said meanwhile. */
  readonly runMs: number;
}

/** When the steps of a hand-over took place, in nanoseconds of CLOCK_MONOTONIC, which all processes of a host share. */
export interface Instants {
  readonly stopped: bigint;
  readonly saved: bigint;
  readonly arrived: bigint;
  readonly taken: bigint;
  readonly served: bigint;
}

/** The time of {@link Instants}. */
export function now(): bigint {
  return process.hrtime.bigint();
}

/** What became of the time between them. */
export function pauseOf({ stopped, saved, arrived, taken, served }: Instants): Pause {
  return {
    totalMs: between(stopped, served),
    saveMs: between(stopped, saved),
    passMs: between(saved, arrived),
    loadMs: between(arrived, taken),
    runMs: between(taken, served),
  };
}

function between(from: bigint, to: bigint): number {
  return Number(to - from) / 1e6;
}
