import { Errno, FerryError } from '../errors/index.ts';
import type { EndName } from './step.ts';

/** Who made a step fail: an end, a hook of the caller's, or the caller's wish to stop. */
export type Culprit = EndName | 'hook' | 'caller';

/** Why a step failed. */
export type StepErrorCode =
  /** The end answered, and refused or failed. */
  | 'ERR_STEP_FAILED'
  /** No answer in time: the step may have had its effect, or may still have it. */
  | 'ERR_STEP_TIMEOUT'
  /** The end says one thing and is another. */
  | 'ERR_STEP_UNVERIFIED'
  /** The ends do not fit together, or are not in a state from which a migration starts. */
  | 'ERR_STEP_REFUSED'
  /** Somebody else reset the device: its session is gone. */
  | 'ERR_SESSION_ABORTED'
  /** The caller cancelled. */
  | 'ERR_STEP_CANCELLED';

/** One step of a migration failed. */
export class StepError extends FerryError {
  readonly culprit: Culprit;

  constructor(code: StepErrorCode, culprit: Culprit, message: string, cause?: unknown) {
    super(code, message, { errno: errnoOf(code, cause), context: { culprit }, cause });
    this.culprit = culprit;
  }
}

function errnoOf(code: StepErrorCode, cause: unknown): number {
  if (cause instanceof FerryError) return cause.errno;
  if (code === 'ERR_STEP_TIMEOUT') return Errno.ETIMEDOUT;
  if (code === 'ERR_STEP_CANCELLED') return Errno.ECANCELED;
  if (code === 'ERR_SESSION_ABORTED') return Errno.ENODEV;
  return code === 'ERR_STEP_REFUSED' ? Errno.EINVAL : Errno.EIO;
}
