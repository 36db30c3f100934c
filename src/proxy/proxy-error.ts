import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What a proxy refuses or can't bring about, with the errno each kind maps to. */
const kinds = {
  /** A swap is under way, or somebody else is connected. */
  ERR_PROXY_BUSY: Errno.EBUSY,
  /** The swap is not possible; nothing was touched. */
  ERR_SWAP_REFUSED: Errno.EINVAL,
  /** The swap failed on its way; the old back end is in service again. */
  ERR_SWAP_FAILED: Errno.EIO,
  /** The swap failed on its way, and the old back end could not be set running again. */
  ERR_SWAP_STRANDED: Errno.EIO,
  /** A back end did not do what it was asked. */
  ERR_BACKEND: Errno.EIO,
  /** A request on the control socket that means nothing, or no answer from it. */
  ERR_PROXY_CONTROL: Errno.EPROTO,
} as const;

/** Stable codes of {@link ProxyError}. */
export type ProxyErrorCode = keyof typeof kinds;

/** A proxy can't do what it was asked. */
export class ProxyError extends FerryError {
  constructor(
    code: ProxyErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { errno?: number; cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? kinds[code], context, cause: options.cause });
  }
}
