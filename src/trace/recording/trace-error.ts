import { Errno, type ErrorContext, FerryError } from '../../errors/index.ts';

const kinds = {
  /** A file is no recording, or a damaged one. */
  ERR_TRACE_FILE: Errno.EBADMSG,
  /** A filter can't be understood. */
  ERR_TRACE_FILTER: Errno.EINVAL,
} as const;

/** Something about a trace can't be understood. */
export class TraceError extends FerryError {
  constructor(code: keyof typeof kinds, message: string, context: ErrorContext = {}) {
    super(code, message, { errno: kinds[code], context });
  }
}
