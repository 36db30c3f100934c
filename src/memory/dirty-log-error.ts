import { FerryError } from '../errors/index.ts';

/** Why DMA logging is refused. */
export type DirtyLogErrorCode =
  /** Logging is on already: "another start is not allowed in the meantime" (linux/vfio.h). EINVAL. */
  | 'ERR_DIRTY_LOG_ACTIVE'
  /** A report while logging is off. EINVAL. */
  | 'ERR_DIRTY_LOG_INACTIVE'
  /** A page size that is no power of two. EINVAL. */
  | 'ERR_DIRTY_LOG_PAGE_SIZE'
  /** A range that is empty, unaligned or overlaps another (EINVAL), or leaves the 64-bit space (EOVERFLOW). */
  | 'ERR_DIRTY_LOG_RANGE'
  /** More ranges, or a bigger bitmap, than allowed. E2BIG. */
  | 'ERR_DIRTY_LOG_TOO_BIG';

/** DMA logging was asked for something that it can't do. The log is as it was before. */
export class DirtyLogError extends FerryError {
  constructor(
    code: DirtyLogErrorCode,
    message: string,
    errno: number,
    context: Readonly<Record<string, string | number | bigint>> = {},
  ) {
    super(code, message, { errno, context });
  }
}
