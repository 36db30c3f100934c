import { Errno, FerryError } from '../errors/index.ts';
import type { EndName } from './step.ts';

/** Who made a step fail: an end, what lies between them, the own journal, a hook of the caller's, or the caller. */
export type Culprit = EndName | 'channel' | 'journal' | 'hook' | 'caller';

/** Why a step failed. */
export const STEP_ERRORS = {
  /** The end answered, and refused or failed. */
  ERR_STEP_FAILED: Errno.EIO,
  /** No answer in time: the step may have had its effect, or may still have it. */
  ERR_STEP_TIMEOUT: Errno.ETIMEDOUT,
  /** The end says one thing and is another. */
  ERR_STEP_UNVERIFIED: Errno.EIO,
  /** The ends do not fit together, or are not in a state from which a migration starts. */
  ERR_STEP_REFUSED: Errno.EINVAL,
  /** Somebody else reset the device: its session is gone. */
  ERR_SESSION_ABORTED: Errno.ENODEV,
  /** The caller cancelled. */
  ERR_STEP_CANCELLED: Errno.ECANCELED,
  /** What is left can't be moved within the limits. */
  ERR_NOT_CONVERGING: Errno.ETIMEDOUT,
  /** The devices stood still for longer than the limit allows, and their size was not known before. */
  ERR_DOWNTIME_LIMIT: Errno.ETIMEDOUT,
  /** The other side can't be heard any more. */
  ERR_CHANNEL_LOST: Errno.ECONNRESET,
  /** The other side has ended the conversation in order, without a word about the outcome. */
  ERR_PEER_LEFT: Errno.ECONNRESET,
  /** The other side broke the rules of the channel. */
  ERR_PEER_PROTOCOL: Errno.EPROTO,
  /** The journal could not be written. */
  ERR_JOURNAL: Errno.EIO,
} as const satisfies Readonly<Record<string, number>>;

/** The code of a {@link StepError}. */
export type StepErrorCode = keyof typeof STEP_ERRORS;

/** One step of a migration failed. */
export class StepError extends FerryError {
  readonly culprit: Culprit;
  declare readonly code: StepErrorCode;

  /** `errno`: that of the cause, or the code's own, unless given. */
  constructor(code: StepErrorCode, culprit: Culprit, message: string, cause?: unknown, errno?: number) {
    const inherited = cause instanceof FerryError ? cause.errno : STEP_ERRORS[code];
    super(code, message, { errno: errno ?? inherited, context: { culprit }, cause });
    this.culprit = culprit;
  }
}

/** Anything that was thrown, as a step's failure. */
export function asStepError(error: unknown): StepError {
  if (error instanceof StepError) return error;
  return new StepError('ERR_STEP_FAILED', 'caller', messageOf(error), error);
}

/** The words of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
