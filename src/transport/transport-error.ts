import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What can go wrong between two ends of a socket, with the errno each kind maps to. */
const kinds = {
  ERR_CONNECTION_CLOSED: Errno.ENOTCONN,
  ERR_CONNECTION_LOST: Errno.ECONNRESET,
  ERR_TIMEOUT: Errno.ETIMEDOUT,
  ERR_MESSAGE_TOO_BIG: Errno.EMSGSIZE,
  ERR_FRAMING: Errno.EPROTO,
  ERR_SEND_QUEUE_FULL: Errno.ENOBUFS,
  ERR_SOCKET_IN_USE: Errno.EADDRINUSE,
  ERR_SOCKET_PATH: Errno.EINVAL,
  ERR_SOCKET_LISTEN: Errno.EIO,
  ERR_SOCKET: Errno.EIO,
} as const;

/** Stable codes of {@link TransportError}. */
export type TransportErrorCode = keyof typeof kinds;

/** A socket, a connection or a wait on one went wrong. */
export class TransportError extends FerryError {
  constructor(
    code: TransportErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { errno?: number; cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? kinds[code], context, cause: options.cause });
  }
}
