import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/**
 * Why a state was refused, and the errno a peer gets. Neither the vfio-user text nor the uAPI header names an errno
 * for bad data; the kernel's answers were recorded from its driver mtty (magic, data beyond the end, incomplete data,
 * a session that is over). Where it has no answer, EINVAL says that the state is sound but not for this device, and
 * EBADMSG that the bytes are not what was written.
 */
export const STREAM_ERRORS = {
  ERR_STREAM_MAGIC: { errno: Errno.EFAULT, doc: 'it does not begin as a state of a device does' },
  ERR_STREAM_FORMAT: { errno: Errno.EINVAL, doc: 'the version of the format is unknown' },
  ERR_STREAM_IDENTITY: { errno: Errno.EINVAL, doc: 'it is the state of another device' },
  ERR_STREAM_VERSION: { errno: Errno.EINVAL, doc: 'the version of the state is too new or too old' },
  ERR_STREAM_SCHEMA: { errno: Errno.EINVAL, doc: 'fields or blocks differ from what this version has' },
  ERR_STREAM_VALUE: { errno: Errno.EINVAL, doc: 'the device refuses a value' },
  ERR_STREAM_CHECKSUM: { errno: Errno.EBADMSG, doc: 'bytes were changed on the way' },
  ERR_STREAM_ORDER: {
    errno: Errno.EBADMSG,
    doc: 'a record is missing, repeated, moved, or from another stream',
  },
  ERR_STREAM_MALFORMED: { errno: Errno.EBADMSG, doc: 'a record contradicts the format' },
  ERR_STREAM_TOTALS: { errno: Errno.EBADMSG, doc: 'the totals at the end differ from what arrived' },
  ERR_STREAM_COVERAGE: { errno: Errno.EBADMSG, doc: 'a part of a memory block never arrived' },
  ERR_STREAM_OVERRUN: { errno: Errno.ENOMEM, doc: 'data after the end record' },
  ERR_STREAM_INCOMPLETE: { errno: Errno.EINVAL, doc: 'the end record has not arrived' },
  ERR_STREAM_CLOSED: { errno: Errno.ENODEV, doc: 'the session is over' },
} as const satisfies Readonly<Record<`ERR_STREAM_${string}`, { errno: number; doc: string }>>;

/** The kinds of {@link StreamError}. */
export type StreamErrorCode = keyof typeof STREAM_ERRORS;

/** What may be said of a {@link StreamError} besides its message. */
export interface StreamErrorOptions {
  readonly context?: ErrorContext;
  readonly cause?: unknown;
  /** The errno of {@link STREAM_ERRORS} unless told otherwise. */
  readonly errno?: number;
}

/** A state that cannot be loaded or written. `offset` is also in the context. */
export class StreamError extends FerryError {
  declare readonly code: StreamErrorCode;
  /** Bytes from the start of the stream to where it was noticed: the start of the record, or the end of its data. */
  readonly offset: number;

  constructor(code: StreamErrorCode, message: string, offset: number, options: StreamErrorOptions = {}) {
    super(code, `${message} (at byte ${offset} of the state)`, {
      errno: options.errno ?? STREAM_ERRORS[code].errno,
      context: { ...options.context, offset },
      cause: options.cause,
    });
    this.offset = offset;
  }
}
