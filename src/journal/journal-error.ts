import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What is wrong with a journal, with the errno each kind maps to. */
const kinds = {
  /** The record could not be made durable: don't act on it. See {@link NotDurableError.withdrawn}. */
  ERR_JOURNAL_NOT_DURABLE: Errno.EIO,
  /** The record may not follow what the journal holds. */
  ERR_JOURNAL_ORDER: Errno.EINVAL,
  /** The record can't be written: a text or a list is too long, a number is none. */
  ERR_JOURNAL_RECORD: Errno.EINVAL,
  /** Another process has it open for writing. */
  ERR_JOURNAL_BUSY: Errno.EBUSY,
  /** What is written in it is not what was written: see {@link DamagedJournalError}. */
  ERR_JOURNAL_DAMAGED: Errno.EBADMSG,
  /** It is of a version that this program does not know. */
  ERR_JOURNAL_VERSION: Errno.EPROTO,
  /** There is one already for this group and role. */
  ERR_JOURNAL_EXISTS: Errno.EEXIST,
  /** There is none. */
  ERR_JOURNAL_MISSING: Errno.ENOENT,
  /** The file or its directory can't be used. */
  ERR_JOURNAL_ACCESS: Errno.EACCES,
  /** It has been closed, or an earlier record could not be written. */
  ERR_JOURNAL_CLOSED: Errno.EBADF,
} as const;

/** Stable codes of {@link JournalError}. */
export type JournalErrorCode = keyof typeof kinds;

/** Something about a journal that can't be done or believed. */
export class JournalError extends FerryError {
  declare readonly code: JournalErrorCode;

  constructor(
    code: JournalErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { readonly errno?: number; readonly cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? kinds[code], context, cause: options.cause });
  }
}

/** A record was not made durable. */
export class NotDurableError extends JournalError {
  /**
   * True: the record is certainly not in the journal. False: it may be found there later, since it could not be taken
   * back either; who wrote COMMIT must then not let the source run.
   */
  readonly withdrawn: boolean;

  constructor(kind: string, withdrawn: boolean, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const stands = withdrawn
      ? 'it is not in the journal'
      : 'whether it will be found in the journal is uncertain';
    super(
      'ERR_JOURNAL_NOT_DURABLE',
      `${kind} could not be made durable (${reason}): ${stands}. Make room on the disk, or repair it`,
      { kind, withdrawn },
      { cause, ...(cause instanceof FerryError ? { errno: cause.errno } : {}) },
    );
    this.withdrawn = withdrawn;
  }
}
