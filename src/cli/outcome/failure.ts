import { CommanderError } from 'commander';
import { MigrationError } from '../../engine/index.ts';
import { Errno, errnoName, FerryError } from '../../errors/index.ts';
import { isRunning, parseState, stateName } from '../../states/index.ts';
import { adviceFor } from './advice.ts';
import { ExitCode } from './exit-code.ts';

/** An error as `ferry` shows it. */
export interface Failure {
  readonly code: string;
  readonly errno: string;
  readonly message: string;
  /** What to do next, one thing each. */
  readonly next: readonly string[];
  readonly exitCode: ExitCode;
  /** What else a script may want to know. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What `ferry` says of anything that was thrown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof MigrationError) return migrationFailure(error);
  if (error instanceof CommanderError) return usageFailure(error.message.replace(/^error: /, ''));
  if (error instanceof FerryError) return ferryFailure(error);
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: codeOfSystemError(error) ?? 'ERR_UNFORESEEN',
    errno: errnoName(Errno.EIO),
    message,
    next: [],
    exitCode: ExitCode.FAILED,
    details: {},
  };
}

/** The failure as the JSON object that --json prints. */
export function failureJson(failure: Failure): object {
  const { code, errno, message, next, exitCode, details } = failure;
  return { error: { code, errno, message, ...details, next, exitCode } };
}

/** What stood in for a guest's device, or for its QEMU, has stopped, and nothing has taken its place: the guest stands. */
const STRANDED: ReadonlySet<string> = new Set(['ERR_SWAP_STRANDED', 'ERR_VM_STRANDED', 'ERR_VM_LOST']);

function ferryFailure(error: FerryError): Failure {
  const { code, message, errno, context } = error;
  if (code === 'ERR_USAGE') return usageFailure(message);
  return {
    code,
    errno: errnoName(errno),
    message,
    next: adviceFor(error),
    exitCode: STRANDED.has(code) ? ExitCode.IN_DOUBT : ExitCode.FAILED,
    details: { context },
  };
}

function usageFailure(message: string): Failure {
  return {
    code: 'ERR_USAGE',
    errno: errnoName(Errno.EINVAL),
    message,
    next: [],
    exitCode: ExitCode.USAGE,
    details: {},
  };
}

function migrationFailure(error: MigrationError): Failure {
  const { owner, phase, sourceState, destinationState, timeline } = error;
  return {
    code: error.code,
    errno: errnoName(error.errno),
    message: error.message,
    next: error.nextSteps,
    exitCode: migrationExitCode(error),
    details: {
      owner,
      phase,
      sourceState: named(sourceState),
      destinationState: named(destinationState),
      timeline,
    },
  };
}

/** A device that belongs to the source but does not run there needs somebody as much as one in doubt. */
function migrationExitCode({ code, owner, nextSteps, sourceStates }: MigrationError): ExitCode {
  if (code === 'ERR_MIGRATION_REFUSED') return ExitCode.FAILED;
  if (owner === 'destination') return ExitCode.AT_DESTINATION;
  if (owner === 'in doubt') return ExitCode.IN_DOUBT;
  return nextSteps.length === 0 || sourceStates.every(mayRun) ? ExitCode.FAILED : ExitCode.IN_DOUBT;
}

/** It runs, or nobody has seen that it does not. */
function mayRun(number: number | null): boolean {
  const state = number === null ? null : parseState(number);
  return number === null || (state !== null && isRunning(state));
}

function named(state: number | null): string | null {
  return state === null ? null : stateName(state);
}

function codeOfSystemError(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}
