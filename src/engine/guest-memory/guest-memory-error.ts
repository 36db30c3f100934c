import { Errno, type ErrorContext, FerryError } from '../../errors/index.ts';

const CODES = {
  /** Regions that can't be moved: not whole pages, overlapping, too big. */
  ERR_GUEST_MEMORY_REGIONS: Errno.EINVAL,
  /** Pages that lie outside of the regions. */
  ERR_GUEST_MEMORY_RANGE: Errno.EFAULT,
  /** Somebody who writes to guest memory can't tell where. */
  ERR_GUEST_MEMORY_TRACKING: Errno.EOPNOTSUPP,
} as const satisfies Readonly<Record<string, number>>;

/** The code of a {@link GuestMemoryError}. */
export type GuestMemoryErrorCode = keyof typeof CODES;

/** Guest memory can't be moved. */
export class GuestMemoryError extends FerryError {
  declare readonly code: GuestMemoryErrorCode;

  constructor(code: GuestMemoryErrorCode, message: string, context: ErrorContext = {}, cause?: unknown) {
    super(code, message, { errno: CODES[code], context, cause });
  }
}
