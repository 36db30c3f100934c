/** The time, handed in so that tests decide it. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Calls `run` once after `ms` milliseconds, unless closed before. */
  after(ms: number, run: () => void): { close(): void };
}

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return { close: () => clearTimeout(timer) };
  },
};
