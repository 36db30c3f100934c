import { FerryError } from '../errors/index.ts';
import type { Phase } from './phase.ts';

/**
 * Who has the device after a failure. `source`: it is there, and the destination does not run it. `destination`: it
 * runs there, and the source has stopped for good. `in doubt`: an end that must be asked does not answer, or can't do
 * what it must; nothing that could make two of them run was done.
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
  /** Anything else; the cause says what. */
  | 'ERR_MIGRATION_FAILED';

/** What is known after a failure. */
export interface Aftermath {
  readonly owner: Owner;
  /** The phase in which it failed. */
  readonly phase: Phase;
  /** The state of the source as read last; null when it did not answer. */
  readonly sourceState: number | null;
  /** The state of the destination as read last; null when it did not answer or was not asked. */
  readonly destinationState: number | null;
  /** What was done about it, in sentences. */
  readonly outcome: string;
  /** What to do next, one thing each; commands as they are typed. */
  readonly nextSteps: readonly string[];
}

/** A migration failed. Says who has the device now and how to go on. */
export class MigrationError extends FerryError {
  readonly owner: Owner;
  readonly phase: Phase;
  readonly sourceState: number | null;
  readonly destinationState: number | null;
  readonly nextSteps: readonly string[];

  constructor(code: MigrationErrorCode, reason: FerryError, aftermath: Aftermath) {
    const { owner, phase, sourceState, destinationState, outcome, nextSteps } = aftermath;
    super(code, `${verdict(code, phase)}: ${reason.message}. ${outcome}`, {
      errno: reason.errno,
      context: { owner, phase, sourceState, destinationState },
      cause: reason,
    });
    this.owner = owner;
    this.phase = phase;
    this.sourceState = sourceState;
    this.destinationState = destinationState;
    this.nextSteps = nextSteps;
  }
}

function verdict(code: MigrationErrorCode, phase: Phase): string {
  if (code === 'ERR_MIGRATION_REFUSED') return 'the migration is refused';
  const what = code === 'ERR_MIGRATION_CANCELLED' ? 'was cancelled' : 'failed';
  return `the migration ${what} in phase ${phase}`;
}
