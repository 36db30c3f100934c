import { Errno } from '../errors/index.ts';
import { DirtyLogError } from './dirty-log-error.ts';
import { type IovaRange, type PageRange, parseLoggedRanges, requireRange } from './dirty-ranges.ts';
import { SparsePages } from './sparse-pages.ts';

/** The smallest and the biggest page size of the log, in bytes: a smaller or bigger hint is answered with these. */
export const MIN_LOGGING_PAGE = 4096n;
export const MAX_LOGGING_PAGE = 1n << 30n;

/** The biggest bitmap that one report may ask for, in bytes (what QEMU proposes as `max_bitmap_size`). */
const MAX_REPORT_BYTES = 268_435_456;

/** How a {@link DirtyLog} may be bounded otherwise. */
export interface DirtyLogOptions {
  /** The biggest bitmap of one report, in bytes. */
  readonly maxReportBytes?: number;
  /** How many chunks of 4096 pages may be allocated at once. */
  readonly maxChunks?: number;
}

interface Logging {
  readonly pageSize: bigint;
  readonly pageShift: number;
  readonly ranges: readonly PageRange[];
  readonly pages: SparsePages;
}

/**
 * Which pages of guest memory the device wrote: the features DMA_LOGGING_START, STOP and REPORT (linux/vfio.h). Off
 * at first. Sparse, so that logging all 2^64 bytes costs nothing until something is written; bounded, so that no
 * pattern of writes exhausts memory. Wherever it can't be exact it reports too much, never too little.
 */
export class DirtyLog {
  readonly #options: DirtyLogOptions;
  #logging: Logging | null = null;

  constructor(options: DirtyLogOptions = {}) {
    this.#options = options;
  }

  /** The page size of the log in bytes, or null while it is off. */
  get pageSize(): bigint | null {
    return this.#logging?.pageSize ?? null;
  }

  /**
   * Begins to log writes to `ranges`, or to everything when there are none. `pageSize` (bytes, a power of two) is a
   * hint; the page size chosen is returned. Ranges are aligned to the hint. Throws {@link DirtyLogError}.
   */
  start(pageSize: bigint, ranges: readonly IovaRange[]): bigint {
    if (this.#logging !== null) {
      throw new DirtyLogError(
        'ERR_DIRTY_LOG_ACTIVE',
        'DMA logging is on already: stop it first',
        Errno.EINVAL,
      );
    }
    requirePowerOfTwo(pageSize);
    const chosen = clamp(pageSize, MIN_LOGGING_PAGE, MAX_LOGGING_PAGE);
    const pageShift = shiftOf(chosen);
    this.#logging = {
      pageSize: chosen,
      pageShift,
      ranges: parseLoggedRanges(ranges, pageSize, BigInt(pageShift)),
      pages: new SparsePages(this.#options.maxChunks),
    };
    return chosen;
  }

  /** Stops logging and forgets everything; harmless while it is off. */
  stop(): void {
    this.#logging = null;
  }

  /** Records a write of `length` bytes at `iova`. Costs next to nothing while logging is off. */
  mark(iova: bigint, length: number): void {
    const logging = this.#logging;
    if (logging === null || length <= 0) return;
    const shift = BigInt(logging.pageShift);
    const first = Number(iova >> shift);
    const end = Number((iova + BigInt(length) - 1n) >> shift) + 1;
    for (const range of logging.ranges) {
      logging.pages.add(Math.max(first, range.first), Math.min(end, range.end));
    }
  }

  /** Calls `visit` with every run of pages (bytes) that is in the log, in no order. Nothing is forgotten. */
  forEachRun(visit: (iova: bigint, length: bigint) => void): void {
    const logging = this.#logging;
    if (logging === null) return;
    for (const { first, end } of logging.ranges) {
      logging.pages.forEachRun(first, end, (from, to) =>
        visit(BigInt(from) * logging.pageSize, BigInt(to - from) * logging.pageSize),
      );
    }
  }

  /**
   * What was written in `[iova, iova + length)` since the last report: bit i stands for the page of `pageSize` bytes
   * at `iova + i * pageSize`; bytes in order, padded to whole u64 words. `pageSize` is any power of two and `iova` any
   * address. What was reported is forgotten; a page of the log that lies in the range only partly is reported and kept.
   * Throws {@link DirtyLogError}; nothing is forgotten then.
   */
  report(iova: bigint, length: bigint, pageSize: bigint): Uint8Array {
    const logging = this.#logging;
    if (logging === null) {
      throw new DirtyLogError('ERR_DIRTY_LOG_INACTIVE', 'DMA logging is off: start it first', Errno.EINVAL);
    }
    requirePowerOfTwo(pageSize);
    requireRange({ iova, length });
    const bitmap = new Uint8Array(this.#reportBytes(length, pageSize));
    const shift = BigInt(logging.pageShift);
    const touched: PageRange = {
      first: Number(iova >> shift),
      end: Number((iova + length - 1n) >> shift) + 1,
    };
    fillReport(bitmap, logging, touched, { iova, length }, pageSize);
    const misaligned = (iova & (logging.pageSize - 1n)) !== 0n;
    logging.pages.remove(misaligned ? touched.first + 1 : touched.first, Number((iova + length) >> shift));
    return bitmap;
  }

  #reportBytes(length: bigint, pageSize: bigint): number {
    const bytes = reportSize(length, pageSize);
    const limit = this.#options.maxReportBytes ?? MAX_REPORT_BYTES;
    if (bytes <= BigInt(limit)) return Number(bytes);
    throw new DirtyLogError('ERR_DIRTY_LOG_TOO_BIG', `a bitmap of ${bytes} bytes is too big`, Errno.E2BIG, {
      bytes,
      limit,
    });
  }
}

/** The size of a report's bitmap in bytes: one bit for each page of `pageSize` bytes, in whole u64 words. */
export function reportSize(length: bigint, pageSize: bigint): bigint {
  const bits = (length + pageSize - 1n) / pageSize;
  return ((bits + 63n) / 64n) * 8n;
}

/**
 * Translates runs of logged pages to bits of the report. With A the start of a run in report pages, counted from the
 * log page of `iova`, and B the distance from there to `iova`, the run's first bit is floor(A - B), and its last bit
 * comes before ceil(A - B) of its end. Both are powers-of-two fractions that a double holds exactly, but their
 * difference may not be; so whole and fractional parts are kept apart.
 */
function fillReport(
  bitmap: Uint8Array,
  logging: Logging,
  touched: PageRange,
  { iova, length }: IovaRange,
  pageSize: bigint,
): void {
  const bits = Number((length + pageSize - 1n) / pageSize);
  const scale = 2 ** (logging.pageShift - shiftOf(pageSize));
  const distance = Number(iova & (logging.pageSize - 1n)) / Number(pageSize);
  const distanceWhole = Math.floor(distance);
  const distancePart = distance - distanceWhole;
  logging.pages.forEachRun(touched.first, touched.end, (start, end) => {
    const startScaled = (start - touched.first) * scale;
    const startWhole = Math.floor(startScaled);
    const first = startWhole - distanceWhole - (startScaled - startWhole < distancePart ? 1 : 0);
    const endScaled = (end - touched.first) * scale;
    const endWhole = Math.floor(endScaled);
    const last = endWhole - distanceWhole + (endScaled - endWhole > distancePart ? 1 : 0);
    setBits(bitmap, Math.max(0, first), Math.min(bits, last));
  });
}

/** Sets the bits `[first, end)`; bit 0 is the lowest of byte 0. */
function setBits(bitmap: Uint8Array, first: number, end: number): void {
  const firstByte = Math.floor(first / 8);
  const lastByte = Math.floor((end - 1) / 8);
  const head = 0xff << (first % 8);
  const tail = 0xff >> (7 - ((end - 1) % 8));
  if (firstByte === lastByte) {
    orByte(bitmap, firstByte, head & tail);
    return;
  }
  orByte(bitmap, firstByte, head);
  bitmap.fill(0xff, firstByte + 1, lastByte);
  orByte(bitmap, lastByte, tail);
}

function orByte(bitmap: Uint8Array, index: number, mask: number): void {
  bitmap[index] = (bitmap[index] ?? 0) | mask;
}

function requirePowerOfTwo(pageSize: bigint): void {
  if (pageSize > 0n && (pageSize & (pageSize - 1n)) === 0n) return;
  throw new DirtyLogError(
    'ERR_DIRTY_LOG_PAGE_SIZE',
    `the page size ${pageSize} is no power of two`,
    Errno.EINVAL,
    {
      pageSize,
    },
  );
}

/** The exponent of a power of two. */
function shiftOf(powerOfTwo: bigint): number {
  return powerOfTwo.toString(2).length - 1;
}

function clamp(value: bigint, low: bigint, high: bigint): bigint {
  if (value < low) return low;
  return value > high ? high : value;
}
