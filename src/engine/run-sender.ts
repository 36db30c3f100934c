import { MAX_BODY } from '../channel/index.ts';
import { MigrationControl } from './control.ts';
import type { GuestMemorySource } from './guest-memory/guest-memory.ts';
import { limitsFrom, type MigrationLimits } from './limits.ts';
import { MigrationError } from './migration-error.ts';
import type { SenderPlan } from './plan.ts';
import type { MigrationReport } from './report.ts';
import { sender } from './sender/sender.ts';
import { SenderPerformer } from './sender/sender-performer.ts';
import { senderReport } from './sender/sender-report.ts';
import { DEFAULT_WINDOW, type RunSideOptions, sideOptions, sidePlan } from './side-options.ts';
import type { SideOptions } from './side-performer.ts';
import { conduct } from './step.ts';
import { timelineOf } from './timeline.ts';
import { within } from './within.ts';

/** How the sending side goes about it. Everything has a default. */
export interface SendOptions {
  /** False: stop at once and move everything then. Default true. */
  readonly preCopy?: boolean;
  /** The guest does not run: its devices are moved at once, and stay as stopped as they are. */
  readonly paused?: boolean;
  /** Move a group although one of its devices can't be stopped without risk. */
  readonly force?: boolean;
  /** Compare both sides, and stop there. */
  readonly dryRun?: boolean;
  readonly limits?: Partial<MigrationLimits>;
  /** Bytes per read at most. Default 1 MiB; the ends may have smaller limits of their own. */
  readonly chunkBytes?: number;
  /** Cancels; without effect once the decision is made. */
  readonly signal?: AbortSignal;
  /** A hand on it while it runs. */
  readonly control?: MigrationControl;
}

/** What a sender is run with. */
export interface RunSenderOptions extends RunSideOptions, SendOptions {
  /** Guest memory that moves too. */
  readonly memory?: GuestMemorySource;
}

/**
 * Moves the devices to whoever receives on the other end of the channel. Resolves when they run there, and the source
 * has stopped for good. Rejects with MigrationError, which says who owns the devices and how to go on.
 */
export async function runSender(options: RunSenderOptions): Promise<MigrationReport> {
  const limits = limitsFrom(options.limits);
  const plan: SenderPlan = {
    ...sidePlan(options, options.memory?.regions ?? []),
    preCopy: options.preCopy ?? true,
    paused: options.paused ?? false,
    force: options.force ?? false,
    dryRun: options.dryRun ?? false,
  };
  const side = sideOptions('source', options, plan);
  const performer = new SenderPerformer({
    ...side,
    limits,
    control: options.control ?? new MigrationControl(),
    signal: options.signal,
    chunkBytes: options.chunkBytes ?? MAX_BODY,
    window: options.window ?? DEFAULT_WINDOW,
    memory: options.memory ?? null,
  });
  try {
    const outcome = await conduct(sender(plan), (step) => performer.perform(step));
    side.recorder.endPhase();
    const report = senderReport(plan, outcome, side.recorder, performer);
    return { ...report, notes: [...report.notes, ...(options.memory?.notes ?? [])] };
  } catch (error) {
    side.recorder.endPhase();
    throw error instanceof MigrationError
      ? error.withTimeline(timelineOf('source', side.recorder, plan))
      : error;
  } finally {
    await stopWatching(options.memory, side);
    await performer.close();
  }
}

/** Whoever owns the devices by now, this is no reason to say that the migration has failed. */
async function stopWatching(
  memory: GuestMemorySource | undefined,
  { clock, timeoutMs }: SideOptions,
): Promise<void> {
  const stop = async (): Promise<void> => memory?.stop();
  const late = (): Error => new Error('guest memory is still watched');
  await Promise.allSettled([within(clock, timeoutMs, stop(), late)]);
}
