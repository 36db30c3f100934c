import type { TimerPhase } from './device-handover.ts';
import type { TimerHandle, TimerHost } from './served-device.ts';

interface Entry {
  readonly ms: number;
  readonly run: () => void;
  readonly periodic: boolean;
  /** Set while it ticks. */
  handle: TimerHandle | null;
  /** When it ticks next, by performance.now(). */
  due: number;
  /** Until its first tick after the next {@link DeviceTimers.resume}, in milliseconds; null: its full time. */
  leftMs: number | null;
}

/**
 * A device's timers. They tick only while the device runs: a pause stops them all, and a resumption starts each with
 * its full time. They are no part of the state: after a migration or a reset only those exist that the device sets up.
 * Another process of the same host goes on in the middle of a period, see {@link phases}.
 */
export class DeviceTimers {
  readonly #entries = new Set<Entry>();
  #host: TimerHost | null = null;

  /** Calls `run` every `ms` milliseconds of running. */
  every(ms: number, run: () => void): TimerHandle {
    return this.#add(ms, run, true);
  }

  /** Calls `run` once after `ms` milliseconds of running. */
  after(ms: number, run: () => void): TimerHandle {
    return this.#add(ms, run, false);
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

  /** How far the timers have come that tick again and again, in the order in which they were set up. */
  phases(): TimerPhase[] {
    const now = performance.now();
    return this.#periodic().map(({ ms, due }) => ({ ms, leftMs: Math.min(ms, Math.max(0, due - now)) }));
  }

  /** The next {@link resume} goes on where these have been; those that the device has not, or with other periods, begin. */
  adopt(phases: readonly TimerPhase[]): void {
    for (const [i, entry] of this.#periodic().entries()) {
      const phase = phases[i];
      if (phase?.ms === entry.ms) entry.leftMs = phase.leftMs;
    }
  }

  /** Forgets all timers. */
  close(): void {
    for (const entry of [...this.#entries]) this.#remove(entry);
    this.#host = null;
  }

  #periodic(): Entry[] {
    return [...this.#entries].filter(({ periodic }) => periodic);
  }

  #add(ms: number, run: () => void, periodic: boolean): TimerHandle {
    const entry: Entry = { ms, run, periodic, handle: null, due: performance.now() + ms, leftMs: null };
    this.#entries.add(entry);
    this.#start(entry);
    return { close: () => this.#remove(entry) };
  }

  #start(entry: Entry): void {
    const host = this.#host;
    if (host === null || entry.handle !== null) return;
    const { leftMs } = entry;
    entry.leftMs = null;
    entry.due = performance.now() + (leftMs ?? entry.ms);
    if (!entry.periodic) entry.handle = host.after(entry.ms, () => this.#tickOnce(entry));
    else if (leftMs === null) entry.handle = host.every(entry.ms, () => tick(entry));
    else entry.handle = host.after(leftMs, () => this.#goOn(entry));
  }

  /** The period that began elsewhere is over. */
  #goOn(entry: Entry): void {
    entry.handle = null;
    this.#start(entry);
    tick(entry);
  }

  #tickOnce(entry: Entry): void {
    this.#remove(entry);
    entry.run();
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry);
    stop(entry);
  }
}

function tick(entry: Entry): void {
  entry.due = performance.now() + entry.ms;
  entry.run();
}

function stop(entry: Entry): void {
  entry.handle?.close();
  entry.handle = null;
}
