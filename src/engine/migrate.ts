import { type Clock, systemClock } from './clock.ts';
import { DEFAULT_PRE_COPY_LIMITS, type PreCopyLimits } from './convergence.ts';
import type { MigrationEnd } from './migration-end.ts';
import { type MigrationHooks, Performer, type PerformerOptions } from './performer.ts';
import { type MigrationProgress, Recorder } from './recorder.ts';
import type { MigrationReport } from './report.ts';
import { migration } from './sequence.ts';
import type { Reply, Sequence, Step } from './step.ts';

/** How to migrate. Everything has a default. */
export interface MigrateOptions {
  /**
   * `beforeStop`: stop the guest; the device has the last word from here on. `beforeRun`: whoever owns the
   * destination's main connection re-establishes its DMA maps and interrupts there. After a MigrationError the
   * guest goes on with the device at its `owner`.
   */
  readonly hooks?: MigrationHooks;
  /** Called at each change of phase and about ten times a second while data moves. */
  readonly onProgress?: (progress: MigrationProgress) => void;
  /** Cancels; without effect once the destination has been asked to run. */
  readonly signal?: AbortSignal;
  /** How long each request may take, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
  /** How long each hook may take, in milliseconds. Default 5000. */
  readonly hookTimeoutMs?: number;
  /** False: stop at once and move everything then. Default true. */
  readonly preCopy?: boolean;
  readonly limits?: Partial<PreCopyLimits>;
  /** Bytes per read at most. Default 1 MiB; the ends may have smaller limits of their own. */
  readonly chunkBytes?: number;
  /** Chunks on the way at most. Default 4. */
  readonly window?: number;
  /** Bytes per second at most, in all phases; null, the default, for as fast as it goes. */
  readonly maxBandwidth?: number | null;
  /** The time; for tests. */
  readonly clock?: Clock;
}

const DEFAULT_TIMEOUT_MS = 5_000;
/** The default max_data_xfer_size of vfio-user: larger messages would be split anyway. */
const DEFAULT_CHUNK = 1024 * 1024;
/** Enough that both ends and the controller always have work; bounds the memory of all three. */
const DEFAULT_WINDOW = 4;
/** With a bandwidth limit, chunks are so small that they come this often per second. */
const PACED_CHUNKS_PER_SECOND = 20;
const SMALLEST_CHUNK = 4096;

/**
 * Moves a running device from `source` to `destination`. Resolves when the destination runs and the source has
 * stopped for good. Rejects with MigrationError, which says who has the device and how to go on.
 */
export async function migrate(
  source: MigrationEnd,
  destination: MigrationEnd,
  options: MigrateOptions = {},
): Promise<MigrationReport> {
  const clock = options.clock ?? systemClock;
  const names = { source: source.name, destination: destination.name };
  const recorder = new Recorder(clock, options.onProgress);
  const performer = new Performer(performerOptions(source, destination, clock, options), recorder);
  const limits = { ...DEFAULT_PRE_COPY_LIMITS, ...options.limits };
  const sequence = migration({ names, limits, preCopy: options.preCopy ?? true });
  const outcome = await conduct(sequence, (step) => performer.perform(step));
  return recorder.report(outcome, names);
}

/** Carries out a sequence, step by step; a step that fails is thrown into it. */
export async function conduct<T>(sequence: Sequence<T>, perform: (step: Step) => Promise<Reply>): Promise<T> {
  let turn = sequence.next();
  while (!turn.done) {
    let reply: Reply;
    try {
      reply = await perform(turn.value);
    } catch (error) {
      turn = sequence.throw(error);
      continue;
    }
    turn = sequence.next(reply);
  }
  return turn.value;
}

function performerOptions(
  source: MigrationEnd,
  destination: MigrationEnd,
  clock: Clock,
  options: MigrateOptions,
): PerformerOptions {
  const bytesPerSecond = options.maxBandwidth ?? null;
  const chunk = options.chunkBytes ?? DEFAULT_CHUNK;
  return {
    clock,
    ends: { source, destination },
    hooks: options.hooks ?? {},
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    hookTimeoutMs: options.hookTimeoutMs ?? DEFAULT_TIMEOUT_MS,
    chunkBytes: bytesPerSecond === null ? chunk : Math.min(chunk, pacedChunk(bytesPerSecond)),
    window: options.window ?? DEFAULT_WINDOW,
    bytesPerSecond,
    signal: options.signal,
  };
}

function pacedChunk(bytesPerSecond: number): number {
  return Math.max(SMALLEST_CHUNK, Math.floor(bytesPerSecond / PACED_CHUNKS_PER_SECOND));
}
