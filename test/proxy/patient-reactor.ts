import { loadNative } from '../../src/native/index.ts';
import { type Closeable, EventLoopReactor, type Reactor } from '../../src/transport/index.ts';

/**
 * A reactor whose clock does not run for what shall take a certain time: that comes when the test says so. A machine that
 * is busy can then not be taken for a server that does not answer.
 */
export class PatientReactor implements Reactor {
  readonly mode = 'event-loop';
  readonly #real = new EventLoopReactor(loadNative(), { spinMicroseconds: 0 });
  readonly #patientMs: number;
  readonly #waiting = new Set<() => void>();
  readonly open: Reactor['open'] = (...args) => this.#real.open(...args);
  readonly watch: Reactor['watch'] = (...args) => this.#real.watch(...args);
  readonly every: Reactor['every'] = (...args) => this.#real.every(...args);
  readonly defer: Reactor['defer'] = (...args) => this.#real.defer(...args);

  /** Jobs that are to be done after `patientMs` wait for {@link expireOnly}. */
  constructor(patientMs: number) {
    this.#patientMs = patientMs;
  }

  after(ms: number, run: () => void): Closeable {
    if (ms !== this.#patientMs) return this.#real.after(ms, run);
    const job = (): void => run();
    this.#waiting.add(job);
    return { close: () => void this.#waiting.delete(job) };
  }

  /** The time is up for the only job that waits; false when there are others, which may still be called off. */
  expireOnly(): boolean {
    if (this.#waiting.size !== 1) return false;
    for (const run of this.#waiting) {
      this.#waiting.delete(run);
      run();
    }
    return true;
  }
}
