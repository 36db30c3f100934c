import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What a server refuses, with the errno each kind maps to. */
const kinds = {
  /** The command exists, but not on this socket or for this role. */
  ERR_WRONG_SOCKET: Errno.EPERM,
  /** VERSION must come first, and once. */
  ERR_HANDSHAKE: Errno.EINVAL,
  ERR_UNKNOWN_COMMAND: Errno.EINVAL,
  ERR_BAD_INDEX: Errno.EINVAL,
  ERR_BAD_RANGE: Errno.EINVAL,
  ERR_TOO_LONG: Errno.EINVAL,
  /** The state of the device does not allow it. */
  ERR_WRONG_STATE: Errno.EINVAL,
  /** Another connection drives the migration, or a hold has expired. */
  ERR_BUSY: Errno.EBUSY,
  /** The device belongs to another migration. */
  ERR_CLAIMED: Errno.EBUSY,
  /** The claim of whoever asks has been taken over. */
  ERR_CLAIM_STALE: Errno.ESTALE,
  /** The state of the device has been handed over: it must not run. */
  ERR_RETIRED: Errno.EKEYREVOKED,
  /** Somebody else reset the device under the session. */
  ERR_SESSION_ABORTED: Errno.ENODEV,
  /** The device has no such feature. */
  ERR_NOT_SUPPORTED: Errno.ENOTTY,
  ERR_TRANSITION_TIMEOUT: Errno.ETIMEDOUT,
  ERR_DMA_FAILED: Errno.EIO,
  ERR_ASYNCHRONOUS: Errno.EOPNOTSUPP,
} as const;

/** Stable codes of {@link ServerError}. */
export type ServerErrorCode = keyof typeof kinds;

/** The device has thrown; `what` says in doing what. */
export function deviceFailed(what: string, cause: unknown): ServerError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new ServerError('ERR_WRONG_STATE', `${what}: ${text}`, {}, { errno: Errno.EIO, cause });
}

/** A hold has lasted longer than a VMM waits. */
export function heldTooLong(): ServerError {
  return new ServerError('ERR_BUSY', 'the device is being moved and was held for longer than a VMM waits');
}

/** A request that the server refuses, or something that failed on its way. */
export class ServerError extends FerryError {
  constructor(
    code: ServerErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { errno?: number; cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? kinds[code], context, cause: options.cause });
  }
}
