import type { TimerHandle, TimerHost } from './served-device.ts';

interface Entry {
  readonly ms: number;
  readonly run: () => void;
  readonly periodic: boolean;
  /** Set while it ticks. */
  handle: TimerHandle | null;
}

/**
 * A device's timers. They tick only while the device runs: a pause stops them all, and a resumption starts each with
 * its full time. They are no part of the state: after a migration or a reset only those exist that the device sets up.
 */
export class DeviceTimers {
  readonly #entries = new Set<Entry>();
  #host: TimerHost | null = null;

  /** Calls `run` every `ms` milliseconds of running. */
  every(ms: number, run: () => void): TimerHandle {
    return this.#add({ ms, run, periodic: true, handle: null });
  }

  /** Calls `run` once after `ms` milliseconds of running. */
  after(ms: number, run: () => void): TimerHandle {
    return this.#add({ ms, run, periodic: false, handle: null });
  }

  /** Starts all timers on this clock. */
  resume(host: TimerHost): void {
    this.#host = host;
    for (const entry of this.#entries) this.#start(entry);
  }

  /** Stops all timers until {@link resume}. */
  pause(): void {
    this.#host = null;
    for (const entry of this.#entries) stop(entry);
  }

  /** Forgets the timers that tick once: they belong to a state that is gone. */
  forgetPending(): void {
    for (const entry of [...this.#entries]) if (!entry.periodic) this.#remove(entry);
  }

  /** Forgets all timers. */
  close(): void {
    for (const entry of [...this.#entries]) this.#remove(entry);
    this.#host = null;
  }

  #add(entry: Entry): TimerHandle {
    this.#entries.add(entry);
    this.#start(entry);
    return { close: () => this.#remove(entry) };
  }

  #start(entry: Entry): void {
    if (this.#host === null || entry.handle !== null) return;
    entry.handle = entry.periodic
      ? this.#host.every(entry.ms, entry.run)
      : this.#host.after(entry.ms, () => {
          this.#remove(entry);
          entry.run();
        });
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry);
    stop(entry);
  }
}

function stop(entry: Entry): void {
  entry.handle?.close();
  entry.handle = null;
}
