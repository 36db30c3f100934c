import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/**
 * - `ERR_PROTOCOL_MALFORMED`: bytes or a value that break the layout or a rule of a message.
 * - `ERR_PROTOCOL_VERSION`: the two sides have no version or capability in common that lets them go on.
 * - `ERR_PROTOCOL_UNSUPPORTED`: a command or device feature that does not exist here.
 */
export type ProtocolErrorCode =
  | 'ERR_PROTOCOL_MALFORMED'
  | 'ERR_PROTOCOL_VERSION'
  | 'ERR_PROTOCOL_UNSUPPORTED';

/** What may be said of a {@link ProtocolError} besides its message. */
export interface ProtocolErrorOptions {
  /** EINVAL unless told otherwise. */
  readonly errno?: number;
  /** `ERR_PROTOCOL_MALFORMED` unless told otherwise. */
  readonly code?: ProtocolErrorCode;
  /** Usually `message` (command and direction), `field` and `byte` (offset from the end of the header). */
  readonly context?: ErrorContext;
}

/** A message that cannot be accepted or must not be sent. Its errno is what a server answers with. */
export class ProtocolError extends FerryError {
  constructor(message: string, options: ProtocolErrorOptions = {}) {
    super(options.code ?? 'ERR_PROTOCOL_MALFORMED', message, {
      errno: options.errno ?? Errno.EINVAL,
      context: options.context ?? {},
    });
  }
}
