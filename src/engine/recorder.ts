import type { MessageKind } from '../channel/index.ts';
import type { Clock } from './clock.ts';
import { keepIn } from './kept-list.ts';
import type { Phase } from './phase.ts';
import { bytesPerSecond, type PhaseReport, type ProgressSample } from './report.ts';
import type { Iteration } from './sender/convergence.ts';
import type { StateChange } from './side-report.ts';
import type { Decision, EndName } from './step.ts';
import { type Assessment, isMilestone, type Milestone } from './timeline.ts';

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
  /** How long the blackout would be now, in milliseconds; null when that can't be told. */
  readonly estimatedDowntimeMs: number | null;
}

/** Something that happened, with the time since this side began, in milliseconds. */
export type MigrationEvent = { readonly atMs: number } & (
  | { readonly type: 'phase'; readonly end: EndName; readonly phase: Phase }
  | { readonly type: 'state'; readonly end: EndName; readonly device: number; readonly state: number }
  | { readonly type: 'decision'; readonly end: EndName; readonly decision: Decision }
  | {
      readonly type: 'message';
      readonly end: EndName;
      readonly direction: 'sent' | 'received';
      readonly kind: MessageKind;
    }
  | { readonly type: 'reconnected'; readonly end: EndName }
);

/** An event without its time. */
type Untimed<E> = E extends unknown ? Omit<E, 'atMs'> : never;

/** Who is told. */
export interface Listeners {
  readonly onProgress?: ((progress: MigrationProgress) => void) | undefined;
  readonly onEvent?: ((event: MigrationEvent) => void) | undefined;
}

/** Progress events come at most so often within a phase. */
const PROGRESS_INTERVAL_MS = 100;

/** When there are more samples, every second one is dropped: a chart shows no more. */
const MAX_SAMPLES = 4096;

/** What else is remembered of each kind. */
const MAX_ENTRIES = 4096;
/** Changes of state that are remembered: a group has up to 256 devices. */
const MAX_CHANGES = 16_384;

/** Takes the times and counts the bytes of one side. */
export class Recorder {
  readonly #clock: Clock;
  readonly #end: EndName;
  readonly #listeners: Listeners;
  readonly #started: number;
  readonly #last = new Map<number, number | null>();
  /** When this side began, by the clock of its host: ISO 8601, UTC. */
  readonly startedAt = new Date().toISOString();
  readonly phases: PhaseReport[] = [];
  readonly changes: StateChange[] = [];
  readonly samples: ProgressSample[] = [];
  readonly milestones: Milestone[] = [];
  readonly rounds: Iteration[] = [];
  readonly assessments: Assessment[] = [];
  #phase: Phase = 'check';
  #phaseStarted: number;
  #phaseBytes = 0;
  #bytes = 0;
  #iteration = 0;
  #remaining: number | null = null;
  #estimate: number | null = null;
  #rate = 0;
  #toldAt: number;
  #toldBytes = 0;

  constructor(clock: Clock, end: EndName, listeners: Listeners) {
    this.#clock = clock;
    this.#end = end;
    this.#listeners = listeners;
    this.#started = clock.now();
    this.#phaseStarted = this.#started;
    this.#toldAt = this.#started;
    this.#event({ type: 'phase', end, phase: 'check' });
    this.#tell();
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Milliseconds since this side began. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#started;
  }

  begin(phase: Phase): void {
    this.endPhase();
    this.#phase = phase;
    this.#event({ type: 'phase', end: this.#end, phase });
    this.#tell();
  }

  state(end: EndName, device: number, state: number): void {
    this.#change(device, state);
    this.#event({ type: 'state', end, device, state });
  }

  /** A device was found in a state; null: it did not answer. News only when it was another one before. */
  seen(device: number, state: number | null): void {
    if (this.#last.get(device) !== state) this.#change(device, state);
  }

  /** A round of PRE_COPY is over. */
  round(round: Iteration): void {
    keepIn(this.rounds, round, MAX_ENTRIES);
  }

  /** It is to be decided whether to switch. */
  assessed(assessment: Omit<Assessment, 'atMs'>): void {
    keepIn(this.assessments, { atMs: this.elapsedMs, ...assessment }, MAX_ENTRIES);
    this.#estimate = assessment.estimatedDowntimeMs;
  }

  decision(end: EndName, decision: Decision): void {
    this.#event({ type: 'decision', end, decision });
  }

  message(direction: 'sent' | 'received', kind: MessageKind): void {
    this.#event({ type: 'message', end: this.#end, direction, kind });
  }

  reconnected(): void {
    this.#event({ type: 'reconnected', end: this.#end });
  }

  /** A copy begins, with so much to move as far as known. */
  beginCopy(iteration: number, remaining: number | null): void {
    this.#iteration = iteration;
    this.#remaining = remaining;
  }

  /** Some bytes have been moved. */
  moved(bytes: number): void {
    this.#bytes += bytes;
    this.#phaseBytes += bytes;
    if (this.#remaining !== null) this.#remaining = Math.max(0, this.#remaining - bytes);
    if (this.#clock.now() - this.#toldAt >= PROGRESS_INTERVAL_MS) this.#tell();
  }

  get progress(): MigrationProgress {
    return {
      phase: this.#phase,
      bytes: this.#bytes,
      rate: this.#rate,
      remaining: this.#remaining,
      iteration: this.#iteration,
      elapsedMs: this.elapsedMs,
      estimatedDowntimeMs: this.#estimate,
    };
  }

  /** Ends the present phase. */
  endPhase(): void {
    const now = this.#clock.now();
    const startMs = this.#phaseStarted - this.#started;
    const durationMs = now - this.#phaseStarted;
    keepIn(this.phases, { phase: this.#phase, startMs, durationMs, bytes: this.#phaseBytes }, MAX_ENTRIES);
    this.#phaseStarted = now;
    this.#phaseBytes = 0;
    this.#iteration = 0;
    this.#remaining = null;
  }

  #tell(): void {
    const now = this.#clock.now();
    this.#rate = bytesPerSecond(this.#bytes - this.#toldBytes, now - this.#toldAt);
    this.#toldAt = now;
    this.#toldBytes = this.#bytes;
    const { progress } = this;
    this.#sample(progress);
    guarded(() => this.#listeners.onProgress?.(progress));
  }

  #sample({ elapsedMs, bytes, rate, remaining, estimatedDowntimeMs }: MigrationProgress): void {
    this.samples.push({ atMs: elapsedMs, bytes, rate, remaining, estimatedDowntimeMs });
    if (this.samples.length <= MAX_SAMPLES) return;
    const kept = this.samples.filter((_, i) => i % 2 === 0);
    this.samples.splice(0, this.samples.length, ...kept);
  }

  #change(device: number, state: number | null): void {
    this.#last.set(device, state);
    keepIn(this.changes, { device, state, atMs: this.elapsedMs }, MAX_CHANGES);
  }

  #event(untimed: Untimed<MigrationEvent>): void {
    const event = { ...untimed, atMs: this.elapsedMs };
    if (isMilestone(event)) keepIn(this.milestones, event, MAX_ENTRIES);
    guarded(() => this.#listeners.onEvent?.(event));
  }
}

/** Who only watches can't be allowed to break a migration half-way. */
function guarded(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
