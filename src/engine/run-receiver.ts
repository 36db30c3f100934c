import type { Channel } from '../channel/index.ts';
import type { GuestMemoryTarget } from './guest-memory/guest-memory.ts';
import { MigrationError } from './migration-error.ts';
import { receiver } from './receiver/receiver.ts';
import { ReceiverPerformer } from './receiver/receiver-performer.ts';
import { DEFAULT_WINDOW, type RunSideOptions, sideOptions, sidePlan } from './side-options.ts';
import { conduct } from './step.ts';
import { type Timeline, timelineOf } from './timeline.ts';

/** What a receiver is run with. */
export interface RunReceiverOptions extends RunSideOptions {
  /** Guest memory that moves too. */
  readonly memory?: GuestMemoryTarget;
  /**
   * Where what arrives is kept besides the devices, from `saveTo`: it lasts before READY is said, and is of no use once
   * the devices run. Without it, what a device loses before it runs is lost there, and the stopped source still has it.
   */
  readonly keep?: Channel;
  /** Cancels, and tells the source so; without effect once READY has been decided. */
  readonly signal?: AbortSignal;
}

/** What a finished receiver reports. */
export interface ReceiverReport {
  /** False: the source only asked whether it would work. */
  readonly received: boolean;
  /** Names the migration: 32 hex digits. */
  readonly group: string;
  /** The states of its devices. */
  readonly states: readonly (number | null)[];
  /** Bytes of state that arrived. */
  readonly bytes: number;
  readonly totalMs: number;
  /** How it went, in the destination's time. */
  readonly timeline: Timeline;
}

/**
 * Receives the devices that the other end of the channel sends. Resolves when they run here. Rejects with
 * MigrationError, which says who owns the devices and how to go on.
 */
export async function runReceiver(options: RunReceiverOptions): Promise<ReceiverReport> {
  const plan = sidePlan(options, options.memory?.regions ?? []);
  const side = sideOptions('destination', options, plan);
  const { recorder } = side;
  const performer = new ReceiverPerformer({
    ...side,
    window: options.window ?? DEFAULT_WINDOW,
    memory: options.memory ?? null,
    keep: options.keep ?? null,
    kept: null,
    signal: options.signal,
  });
  try {
    const { received, states } = await conduct(receiver(plan), (step) => performer.perform(step));
    const { bytes } = recorder.progress;
    recorder.endPhase();
    return {
      received,
      group: plan.group,
      states,
      bytes,
      totalMs: recorder.elapsedMs,
      timeline: timelineOf('destination', recorder, plan),
    };
  } catch (error) {
    recorder.endPhase();
    throw error instanceof MigrationError
      ? error.withTimeline(timelineOf('destination', recorder, plan))
      : error;
  } finally {
    await performer.close();
  }
}
