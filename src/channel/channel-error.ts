import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** Why a channel could not be made or has failed, and the errno that goes with it. */
export const CHANNEL_ERRORS = {
  ERR_CHANNEL_CHECKSUM: { errno: Errno.EBADMSG, doc: 'bytes were changed on the way' },
  ERR_CHANNEL_ORDER: { errno: Errno.EBADMSG, doc: 'a frame is missing, repeated or moved' },
  ERR_CHANNEL_MALFORMED: { errno: Errno.EBADMSG, doc: 'a frame or a message breaks its form or its bounds' },
  ERR_CHANNEL_VERSION: { errno: Errno.EPROTO, doc: 'this is no channel, or of another version' },
  ERR_CHANNEL_WINDOW: { errno: Errno.ENOBUFS, doc: 'the other side sent more than it was allowed' },
  ERR_CHANNEL_CUT: { errno: Errno.ECONNRESET, doc: 'a connection ended before the stream did' },
  ERR_CHANNEL_SILENT: { errno: Errno.ETIMEDOUT, doc: 'nothing came from the other side for too long' },
  ERR_CHANNEL_STALLED: { errno: Errno.ETIMEDOUT, doc: 'the other side took nothing for too long' },
  ERR_CHANNEL_TIMEOUT: { errno: Errno.ETIMEDOUT, doc: 'connecting, greeting or closing took too long' },
  ERR_CHANNEL_ABORTED: { errno: Errno.ECANCELED, doc: 'one of the sides has given up' },
  ERR_CHANNEL_CLOSED: { errno: Errno.EPIPE, doc: 'the channel is over' },
  ERR_CHANNEL_HANDLER: { errno: Errno.EIO, doc: 'what received the messages has failed' },
  ERR_CHANNEL_MESSAGE: { errno: Errno.EINVAL, doc: 'a message that may not be sent' },
  ERR_CHANNEL_OVERRUN: { errno: Errno.ENOBUFS, doc: 'the caller went on sending against back-pressure' },
  ERR_CHANNEL_REFUSED: { errno: Errno.EACCES, doc: 'the other side does not want this connection' },
  ERR_CHANNEL_INSECURE: { errno: Errno.EPERM, doc: 'the network would be used without TLS' },
  ERR_CHANNEL_TLS: { errno: Errno.EACCES, doc: 'a certificate is missing, wrong, or of somebody else' },
  ERR_CHANNEL_CONNECT: { errno: Errno.ECONNREFUSED, doc: 'there is no connection' },
  ERR_CHANNEL_ENDPOINT: { errno: Errno.EINVAL, doc: 'an address that can not be used' },
  ERR_CHANNEL_FILE: { errno: Errno.EIO, doc: 'a file could not be read or written' },
  ERR_CHANNEL_KEY: { errno: Errno.EACCES, doc: 'the file is encrypted, or the key is wrong' },
} as const satisfies Readonly<Record<`ERR_CHANNEL_${string}`, { errno: number; doc: string }>>;

/** The kinds of {@link ChannelError}. */
export type ChannelErrorCode = keyof typeof CHANNEL_ERRORS;

/** What may be said of a {@link ChannelError} besides its message. */
export interface ChannelErrorOptions {
  readonly context?: ErrorContext;
  readonly cause?: unknown;
  /** The errno of {@link CHANNEL_ERRORS} unless told otherwise. */
  readonly errno?: number;
}

/** A channel that could not be made, or has failed. */
export class ChannelError extends FerryError {
  declare readonly code: ChannelErrorCode;

  constructor(code: ChannelErrorCode, message: string, options: ChannelErrorOptions = {}) {
    super(code, message, {
      errno: options.errno ?? CHANNEL_ERRORS[code].errno,
      ...(options.context === undefined ? {} : { context: options.context }),
      cause: options.cause,
    });
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
