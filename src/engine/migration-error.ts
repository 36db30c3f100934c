import { FerryError } from '../errors/index.ts';
import type { Phase } from './phase.ts';
import type { StepErrorCode } from './step-error.ts';
import type { Timeline } from './timeline.ts';

/**
 * Who owns the devices after a failure. `source`: no COMMIT was made durable; they are there. `destination`: the
 * COMMIT is durable; the source never runs them again. `in doubt`: what decides can't be read or verified from here;
 * nothing that could make two of them run was done.
 */
export type Owner = 'source' | 'destination' | 'in doubt';

/** Why a migration failed. */
export type MigrationErrorCode =
  /** The ends were checked and do not fit; nothing was changed. */
  | 'ERR_MIGRATION_REFUSED'
  /** The caller cancelled. */
  | 'ERR_MIGRATION_CANCELLED'
  /** Somebody else, such as a VMM, reset one of the devices: the session is gone (errno ENODEV). */
  | 'ERR_SESSION_ABORTED'
  /** What is left can't be moved within the limits. */
  | 'ERR_NOT_CONVERGING'
  /** The devices stood still for longer than the limit allows, and their size was not known before. */
  | 'ERR_DOWNTIME_LIMIT'
  /** Anything else; the cause says what. */
  | 'ERR_MIGRATION_FAILED';

/** What is known after a failure. */
export interface Aftermath {
  readonly owner: Owner;
  /** The phase in which it failed. */
  readonly phase: Phase;
  /** The states of the source's devices as read last; null for one that did not answer. Empty: they were not asked. */
  readonly sourceStates: readonly (number | null)[];
  /** The states of the destination's devices. */
  readonly destinationStates: readonly (number | null)[];
  /** What was done about it, in sentences. */
  readonly outcome: string;
  /** What to do next, one thing each; commands as they are typed. */
  readonly nextSteps: readonly string[];
  /** How it went until then, with what was done about the failure. */
  readonly timeline?: Timeline;
}

/** What was found and done after a failure, before it is put together with the phase and the states. */
export type Finding = Pick<Aftermath, 'owner' | 'outcome' | 'nextSteps'>;

/** A migration failed. Says who owns the devices now and how to go on. */
export class MigrationError extends FerryError {
  readonly owner: Owner;
  readonly phase: Phase;
  /** The states of the source's devices as read last; null for one that did not answer. Empty: they were not asked. */
  readonly sourceStates: readonly (number | null)[];
  /** The states of the destination's devices, likewise. */
  readonly destinationStates: readonly (number | null)[];
  /** What was done about it, in sentences. */
  readonly outcome: string;
  readonly nextSteps: readonly string[];
  /** How it went until then, with what was done about the failure; null when it had not begun. */
  readonly timeline: Timeline | null;
  /** What failed first. */
  readonly reason: FerryError;
  declare readonly code: MigrationErrorCode;

  constructor(code: MigrationErrorCode, reason: FerryError, aftermath: Aftermath) {
    const { owner, phase, sourceStates, destinationStates, outcome, nextSteps, timeline } = aftermath;
    super(code, `${verdict(code, phase)}: ${reason.message}. ${outcome}`, {
      errno: reason.errno,
      context: { owner, phase },
      cause: reason,
    });
    this.owner = owner;
    this.phase = phase;
    this.sourceStates = sourceStates;
    this.destinationStates = destinationStates;
    this.outcome = outcome;
    this.nextSteps = nextSteps;
    this.timeline = timeline ?? null;
    this.reason = reason;
  }

  /** The same failure with how it came to it. */
  withTimeline(timeline: Timeline): MigrationError {
    return new MigrationError(this.code, this.reason, { ...this.aftermath, timeline });
  }

  /** What is known after it. */
  get aftermath(): Aftermath {
    const { owner, phase, sourceStates, destinationStates, outcome, nextSteps, timeline } = this;
    const known = { owner, phase, sourceStates, destinationStates, outcome, nextSteps };
    return timeline === null ? known : { ...known, timeline };
  }

  /** The state of the source, of its first device in a group; null when it did not answer. */
  get sourceState(): number | null {
    return this.sourceStates[0] ?? null;
  }

  /** The state of the destination, of its first device in a group; null when it did not answer or was not asked. */
  get destinationState(): number | null {
    return this.destinationStates[0] ?? null;
  }
}

/** What a failure of a step makes of the migration. */
export function migrationCode(code: StepErrorCode): MigrationErrorCode {
  switch (code) {
    case 'ERR_STEP_REFUSED':
      return 'ERR_MIGRATION_REFUSED';
    case 'ERR_STEP_CANCELLED':
      return 'ERR_MIGRATION_CANCELLED';
    case 'ERR_SESSION_ABORTED':
    case 'ERR_NOT_CONVERGING':
    case 'ERR_DOWNTIME_LIMIT':
      return code;
    default:
      return 'ERR_MIGRATION_FAILED';
  }
}

function verdict(code: MigrationErrorCode, phase: Phase): string {
  if (code === 'ERR_MIGRATION_REFUSED') return 'the migration is refused';
  const what = code === 'ERR_MIGRATION_CANCELLED' ? 'was cancelled' : 'failed';
  return `the migration ${what} in phase ${phase}`;
}
