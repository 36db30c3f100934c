import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What a client refuses or gives up on, with the errno each kind maps to. */
const kinds = {
  /** An argument that can't be sent: a negative offset, an fd that is none, a length that no message can have. */
  ERR_CLIENT_ARGUMENT: Errno.EINVAL,
  /** The server did not agree to this in VERSION. */
  ERR_NOT_NEGOTIATED: Errno.EOPNOTSUPP,
  /** The server can't do this: it has no such region, mapping, interrupt or feature. */
  ERR_DEVICE_LACKS: Errno.ENOTTY,
  /** No rung of the ladder has brought the device back to RUNNING. */
  ERR_RESET_FAILED: Errno.EIO,
  /** The client has been closed. */
  ERR_CLIENT_CLOSED: Errno.ENOTCONN,
} as const;

/** Stable codes of {@link ClientError}. */
export type ClientErrorCode = keyof typeof kinds;

/** Something that a client refuses to send or could not bring about. */
export class ClientError extends FerryError {
  constructor(
    code: ClientErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { errno?: number; cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? kinds[code], context, cause: options.cause });
  }
}
