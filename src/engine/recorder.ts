import type { Clock } from './clock.ts';
import type { Phase } from './phase.ts';
import { bytesPerSecond, type MigrationReport, type PhaseReport } from './report.ts';
import type { Outcome } from './sequence.ts';
import type { EndNames } from './step.ts';

/** What a migration tells while it goes on. */
export interface MigrationProgress {
  readonly phase: Phase;
  /** Bytes of device state moved so far. */
  readonly bytes: number;
  /** Bytes per second lately. */
  readonly rate: number;
  /** Bytes left as far as known; null when nobody can tell. The device may make more while it runs. */
  readonly remaining: number | null;
  /** The round of PRE_COPY, from 1; 0 outside of it. */
  readonly iteration: number;
  /** Since the migration began. */
  readonly elapsedMs: number;
}

/** Progress events come at most so often within a phase. */
const PROGRESS_INTERVAL_MS = 100;

/** Takes the times and counts the bytes. */
export class Recorder {
  readonly #clock: Clock;
  readonly #listener: ((progress: MigrationProgress) => void) | undefined;
  readonly #started: number;
  readonly #phases: PhaseReport[] = [];
  #phase: Phase = 'check';
  #phaseStarted: number;
  #phaseBytes = 0;
  #bytes = 0;
  #iteration = 0;
  #remaining: number | null = null;
  #toldAt = 0;
  #toldBytes = 0;

  constructor(clock: Clock, listener: ((progress: MigrationProgress) => void) | undefined) {
    this.#clock = clock;
    this.#listener = listener;
    this.#started = clock.now();
    this.#phaseStarted = this.#started;
    this.#tell();
  }

  get phase(): Phase {
    return this.#phase;
  }

  begin(phase: Phase): void {
    this.#endPhase();
    this.#phase = phase;
    this.#tell();
  }

  /** A copy begins, with so much to move as far as known. */
  beginCopy(iteration: number, remaining: number | null): void {
    this.#iteration = iteration;
    this.#remaining = remaining;
  }

  /** The destination has taken some bytes. */
  moved(bytes: number): void {
    this.#bytes += bytes;
    this.#phaseBytes += bytes;
    if (this.#remaining !== null) this.#remaining = Math.max(0, this.#remaining - bytes);
    if (this.#clock.now() - this.#toldAt >= PROGRESS_INTERVAL_MS) this.#tell();
  }

  /** Ends the last phase and says how it all went. */
  report(outcome: Outcome, names: EndNames): MigrationReport {
    this.#endPhase();
    const now = this.#phaseStarted;
    const [pre, stop] = [this.#find('pre-copy'), this.#find('stop-copy')];
    const [preCopy, stopCopy] = [pre?.bytes ?? 0, stop?.bytes ?? 0];
    const copying = (pre?.durationMs ?? 0) + (stop?.durationMs ?? 0);
    const stopped = this.#find('stop')?.startMs ?? 0;
    return {
      owner: 'destination',
      ...names,
      phases: this.#phases,
      bytes: { total: this.#bytes, preCopy, stopCopy },
      ...outcome,
      downtimeMs: now - this.#started - stopped,
      totalMs: now - this.#started,
      rates: {
        total: bytesPerSecond(this.#bytes, copying),
        preCopy: bytesPerSecond(preCopy, pre?.durationMs ?? 0),
        stopCopy: bytesPerSecond(stopCopy, stop?.durationMs ?? 0),
      },
    };
  }

  #find(phase: Phase): PhaseReport | undefined {
    return this.#phases.find((each) => each.phase === phase);
  }

  #endPhase(): void {
    const now = this.#clock.now();
    const startMs = this.#phaseStarted - this.#started;
    const durationMs = now - this.#phaseStarted;
    this.#phases.push({ phase: this.#phase, startMs, durationMs, bytes: this.#phaseBytes });
    this.#phaseStarted = now;
    this.#phaseBytes = 0;
    this.#iteration = 0;
    this.#remaining = null;
  }

  #tell(): void {
    const now = this.#clock.now();
    const rate = bytesPerSecond(this.#bytes - this.#toldBytes, now - this.#toldAt);
    this.#toldAt = now;
    this.#toldBytes = this.#bytes;
    try {
      this.#listener?.({
        phase: this.#phase,
        bytes: this.#bytes,
        rate,
        remaining: this.#remaining,
        iteration: this.#iteration,
        elapsedMs: now - this.#started,
      });
    } catch (error) {
      // Who only watches can't be allowed to break a migration half-way.
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  }
}
