import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What can keep a device where it is, with the errno each kind maps to. */
const kinds = {
  /** The running process does not hand it over, or the new one can't take it: nothing has been stopped. */
  ERR_HANDOVER_REFUSED: Errno.EOPNOTSUPP,
  /** It was stopped, and goes on in the old process. */
  ERR_HANDOVER_FAILED: Errno.EIO,
  /** The other process did not answer in time. */
  ERR_HANDOVER_TIMEOUT: Errno.ETIMEDOUT,
  /** The other process has ended before it had given everything. */
  ERR_HANDOVER_LOST: Errno.ECONNRESET,
  /** What the other process said makes no sense. */
  ERR_HANDOVER_PROTOCOL: Errno.EPROTO,
  /** What is to be taken over is damaged. */
  ERR_HANDOVER_RECORD: Errno.EBADMSG,
  /** Not all descriptors have arrived. */
  ERR_HANDOVER_FDS: Errno.EMFILE,
} as const;

/** Stable codes of {@link HandoverError}. */
export type HandoverErrorCode = keyof typeof kinds;

/** A hand-over did not take place. */
export class HandoverError extends FerryError {
  constructor(
    code: HandoverErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { errno?: number; cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? kinds[code], context, cause: options.cause });
  }
}

/** The record says something that can't be. */
export function damagedRecord(what: string, context: ErrorContext = {}): HandoverError {
  return new HandoverError('ERR_HANDOVER_RECORD', `the record of the running server ${what}`, context);
}

/** A message came that has no place there, or no sense. */
export function unexpected(what: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_PROTOCOL', `the other server process ${what}`);
}

/** Whatever was thrown, as an error that says what could not be done: `what` is as in "handed over". */
export function asFerryError(error: unknown, what: string): FerryError {
  if (error instanceof FerryError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new HandoverError(
    'ERR_HANDOVER_FAILED',
    `the device can't be ${what}: ${text}`,
    {},
    { cause: error },
  );
}
