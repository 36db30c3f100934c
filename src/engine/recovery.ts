import type { Position } from '../journal/index.ts';
import type { Owner } from './migration-error.ts';
import type { SidePlan } from './plan.ts';

/** What a recovering sequence is told. Its epoch is that of the recovery. */
export interface RecoveryPlan extends SidePlan {
  /** Where this side's own journal is. */
  readonly position: Position;
  /** Where the other side's journal is; null when it can't be read. */
  readonly peerPosition: Position | null;
  /** The epoch of the migration, by which both sides know it. */
  readonly begunEpoch: bigint;
  /** The other side can be spoken to. */
  readonly connected: boolean;
  /** A person knows that the other side is fenced, and decides for this one. */
  readonly force: boolean;
  /** The servers that held the devices have ended: what was only in them is gone (by number). */
  readonly replaced: readonly boolean[];
  /** The guest at the source was paused, and stays so. */
  readonly paused: boolean;
}

/** What a recovery found and did. */
export interface Recovery {
  readonly owner: Owner;
  /** Something was changed. */
  readonly acted: boolean;
  /** The states of this side's devices; null for one that does not answer. */
  readonly states: readonly (number | null)[];
  /** What was found and done, in sentences. */
  readonly outcome: string;
  /** What to do next, one thing each. */
  readonly nextSteps: readonly string[];
}
