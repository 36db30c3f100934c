import { Errno } from '../errors/index.ts';
import { DirtyLogError } from './dirty-log-error.ts';
import { hex, IOVA_END } from './iova.ts';

/** A range of IOVA space, in bytes. */
export interface IovaRange {
  /** First address. */
  readonly iova: bigint;
  /** Bytes; at least 1, and `iova + length` is at most 2^64. */
  readonly length: bigint;
}

/** A range of page numbers, `[first, end)`. */
export interface PageRange {
  readonly first: number;
  readonly end: number;
}

/** As many ranges as fit one page of the kernel, which is what it guarantees to take and refuses to exceed (E2BIG). */
export const MAX_LOGGING_RANGES = 256;

/**
 * Checks the ranges of DMA_LOGGING_START as the kernel does (vfio_ioctl_device_feature_logging_start) and returns
 * the pages that they touch, in ascending order. No range at all means everything (the vfio-user text; the kernel
 * refuses it). Unlike the kernel we take a range that ends exactly at 2^64.
 */
export function parseLoggedRanges(
  ranges: readonly IovaRange[],
  alignment: bigint,
  pageShift: bigint,
): readonly PageRange[] {
  if (ranges.length > MAX_LOGGING_RANGES) {
    throw new DirtyLogError(
      'ERR_DIRTY_LOG_TOO_BIG',
      `${ranges.length} ranges are more than ${MAX_LOGGING_RANGES}`,
      Errno.E2BIG,
      { ranges: ranges.length },
    );
  }
  if (ranges.length === 0) return [toPages({ iova: 0n, length: IOVA_END }, pageShift)];
  for (const range of ranges) requireLoggable(range, alignment);
  const sorted = [...ranges].sort((a, b) => (a.iova < b.iova ? -1 : 1));
  requireDisjoint(sorted);
  return sorted.map((range) => toPages(range, pageShift));
}

/** Throws EINVAL for an empty or negative range and EOVERFLOW for one that leaves the 64-bit space. */
export function requireRange(range: IovaRange): void {
  if (range.iova < 0n || range.length <= 0n) throw rangeError(range, 'is empty or negative', Errno.EINVAL);
  if (range.iova + range.length > IOVA_END)
    throw rangeError(range, 'leaves the 64-bit space', Errno.EOVERFLOW);
}

function requireLoggable(range: IovaRange, alignment: bigint): void {
  if (((range.iova | range.length) & (alignment - 1n)) !== 0n) {
    throw rangeError(range, `is not aligned to the page size ${alignment}`, Errno.EINVAL);
  }
  requireRange(range);
}

function requireDisjoint(sorted: readonly IovaRange[]): void {
  let end = 0n;
  for (const range of sorted) {
    if (range.iova < end) throw rangeError(range, 'overlaps another range', Errno.EINVAL);
    end = range.iova + range.length;
  }
}

function toPages({ iova, length }: IovaRange, pageShift: bigint): PageRange {
  return { first: Number(iova >> pageShift), end: Number(((iova + length - 1n) >> pageShift) + 1n) };
}

function rangeError(range: IovaRange, problem: string, errno: number): DirtyLogError {
  const { iova, length } = range;
  const text = `${hex(iova)}, ${length} bytes`;
  return new DirtyLogError('ERR_DIRTY_LOG_RANGE', `the range at ${text} ${problem}`, errno, { iova, length });
}
