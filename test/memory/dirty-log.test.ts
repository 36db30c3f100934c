import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import {
  DirtyLog,
  DirtyLogError,
  type IovaRange,
  MAX_LOGGING_RANGES,
  reportSize,
} from '../../src/memory/index.ts';
import { bitsOf, logging } from './reports.ts';

const U64 = 1n << 64n;
const KIB4 = 4096n;

function refusal(action: () => unknown): DirtyLogError {
  try {
    action();
  } catch (error) {
    if (error instanceof DirtyLogError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('start', () => {
  it.each([
    [1n, KIB4],
    [512n, KIB4],
    [KIB4, KIB4],
    [8192n, 8192n],
    [1n << 21n, 1n << 21n],
    [1n << 30n, 1n << 30n],
    [1n << 31n, 1n << 30n],
    [1n << 63n, 1n << 30n],
  ])('answers the hint %d with the page size %d', (hint, chosen) => {
    const log = new DirtyLog();
    expect(log.pageSize).toBeNull();
    expect(log.start(hint, [])).toBe(chosen);
    expect(log.pageSize).toBe(chosen);
  });

  const range = (iova: bigint, length: bigint) => ({ iova, length });
  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => range(BigInt(index) * KIB4, KIB4));

  it.each<[string, bigint, IovaRange[], string, number]>([
    ['a page size of 0', 0n, [], 'ERR_DIRTY_LOG_PAGE_SIZE', Errno.EINVAL],
    ['a page size that is no power of two', 4097n, [], 'ERR_DIRTY_LOG_PAGE_SIZE', Errno.EINVAL],
    ['an unaligned address', KIB4, [range(1n, KIB4)], 'ERR_DIRTY_LOG_RANGE', Errno.EINVAL],
    ['an unaligned length', KIB4, [range(0n, 4095n)], 'ERR_DIRTY_LOG_RANGE', Errno.EINVAL],
    [
      'a range not aligned to a bigger page',
      8192n,
      [range(KIB4, 8192n)],
      'ERR_DIRTY_LOG_RANGE',
      Errno.EINVAL,
    ],
    ['an empty range', KIB4, [range(KIB4, 0n)], 'ERR_DIRTY_LOG_RANGE', Errno.EINVAL],
    ['equal ranges', KIB4, [range(0n, KIB4), range(0n, KIB4)], 'ERR_DIRTY_LOG_RANGE', Errno.EINVAL],
    [
      'overlap in any order',
      KIB4,
      [range(KIB4, KIB4), range(0n, 8192n)],
      'ERR_DIRTY_LOG_RANGE',
      Errno.EINVAL,
    ],
    ['a range past 2^64', KIB4, [range(U64 - KIB4, 8192n)], 'ERR_DIRTY_LOG_RANGE', Errno.EOVERFLOW],
    ['too many ranges', KIB4, many(MAX_LOGGING_RANGES + 1), 'ERR_DIRTY_LOG_TOO_BIG', Errno.E2BIG],
  ])('refuses %s and stays off', (_what, pageSize, ranges, code, errno) => {
    const log = new DirtyLog();
    expect(refusal(() => log.start(pageSize, ranges))).toMatchObject({ code, errno });
    expect(log.pageSize).toBeNull();
  });

  it('takes as many ranges as the kernel, in any order, touching ones and one that ends at 2^64', () => {
    const ranges = [...many(MAX_LOGGING_RANGES - 1), range(U64 - KIB4, KIB4)].reverse();
    const log = logging(KIB4, ranges);
    log.mark(U64 - 1n, 1);
    log.mark(0n, 1);
    expect(bitsOf(log.report(U64 - KIB4, KIB4, KIB4))).toEqual([0]);
    expect(bitsOf(log.report(0n, KIB4, KIB4))).toEqual([0]);
  });

  it('is refused while logging is on, which goes on', () => {
    const log = logging(KIB4);
    log.mark(0n, 1);
    expect(refusal(() => log.start(KIB4, []))).toMatchObject({
      code: 'ERR_DIRTY_LOG_ACTIVE',
      errno: Errno.EINVAL,
    });
    expect(bitsOf(log.report(0n, KIB4, KIB4))).toEqual([0]);
  });

  it('forgets what an earlier round logged', () => {
    const log = logging(KIB4);
    log.mark(0n, 1);
    log.stop();
    log.stop();
    log.start(KIB4, []);
    expect(bitsOf(log.report(0n, KIB4, KIB4))).toEqual([]);
  });
});

describe('mark', () => {
  it('is nothing while logging is off', () => {
    const log = new DirtyLog();
    log.mark(0n, 4096);
    log.start(KIB4, []);
    expect(bitsOf(log.report(0n, KIB4, KIB4))).toEqual([]);
  });

  it('records nothing for a write of no bytes', () => {
    const log = logging(KIB4);
    log.mark(KIB4, 0);
    expect(bitsOf(log.report(0n, 4n * KIB4, KIB4))).toEqual([]);
  });

  it('records only what lies in the ranges', () => {
    const log = logging(KIB4, [
      { iova: 2n * KIB4, length: 2n * KIB4 },
      { iova: 6n * KIB4, length: KIB4 },
    ]);
    log.mark(0n, 10 * 4096);
    expect(bitsOf(log.report(0n, 10n * KIB4, KIB4))).toEqual([2, 3, 6]);
  });

  it('touches the neighbour page only when a byte of it is written', () => {
    const log = logging(KIB4);
    log.mark(KIB4 - 1n, 1);
    expect(bitsOf(log.report(0n, 3n * KIB4, KIB4))).toEqual([0]);
    log.mark(KIB4 - 1n, 2);
    expect(bitsOf(log.report(0n, 3n * KIB4, KIB4))).toEqual([0, 1]);
    log.mark(KIB4, 4096);
    expect(bitsOf(log.report(0n, 3n * KIB4, KIB4))).toEqual([1]);
  });
});

describe('report', () => {
  it.each<[string, bigint, bigint, bigint, string, number]>([
    ['a page size of 0', 0n, KIB4, 0n, 'ERR_DIRTY_LOG_PAGE_SIZE', Errno.EINVAL],
    ['a page size that is no power of two', 0n, KIB4, 3n, 'ERR_DIRTY_LOG_PAGE_SIZE', Errno.EINVAL],
    ['no length', 0n, 0n, KIB4, 'ERR_DIRTY_LOG_RANGE', Errno.EINVAL],
    ['a range past 2^64', U64 - 1n, 2n, KIB4, 'ERR_DIRTY_LOG_RANGE', Errno.EOVERFLOW],
    ['a bitmap of 2^52 bits', 0n, U64, KIB4, 'ERR_DIRTY_LOG_TOO_BIG', Errno.E2BIG],
  ])('refuses %s and forgets nothing', (_what, iova, length, pageSize, code, errno) => {
    const log = logging(KIB4);
    log.mark(0n, 1);
    expect(refusal(() => log.report(iova, length, pageSize))).toMatchObject({ code, errno });
    expect(bitsOf(log.report(0n, KIB4, KIB4))).toEqual([0]);
  });

  it('is refused while logging is off', () => {
    const error = refusal(() => new DirtyLog().report(0n, KIB4, KIB4));
    expect(error).toMatchObject({ code: 'ERR_DIRTY_LOG_INACTIVE', errno: Errno.EINVAL });
  });

  it.each([
    [1n, 8],
    [64n, 8],
    [65n, 16],
    [128n, 16],
    [129n, 24],
  ])('has whole u64 words: %d pages make %d bytes', (pages, bytes) => {
    expect(logging(KIB4).report(0n, pages * KIB4, KIB4)).toHaveLength(bytes);
    expect(reportSize(pages * KIB4, KIB4)).toBe(BigInt(bytes));
  });

  it('keeps its own bound on the bitmap', () => {
    const log = new DirtyLog({ maxReportBytes: 8 });
    log.start(KIB4, []);
    expect(log.report(0n, 64n * KIB4, KIB4)).toHaveLength(8);
    expect(refusal(() => log.report(0n, 65n * KIB4, KIB4)).errno).toBe(Errno.E2BIG);
  });

  it('forgets what it reported and nothing else', () => {
    const log = logging(KIB4);
    log.mark(0n, 4 * 4096);
    expect(bitsOf(log.report(KIB4, 2n * KIB4, KIB4))).toEqual([0, 1]);
    expect(bitsOf(log.report(0n, 4n * KIB4, KIB4))).toEqual([0, 3]);
    expect(bitsOf(log.report(0n, 4n * KIB4, KIB4))).toEqual([]);
  });

  it('reports and keeps a page of the log that lies in the range only partly', () => {
    const log = logging(8192n);
    log.mark(0n, 1);
    expect(bitsOf(log.report(0n, KIB4, KIB4))).toEqual([0]);
    expect(bitsOf(log.report(KIB4, KIB4, KIB4))).toEqual([0]);
    expect(bitsOf(log.report(0n, 8192n, KIB4))).toEqual([0, 1]);
    expect(bitsOf(log.report(0n, 8192n, KIB4))).toEqual([]);
  });

  it('covers hundreds of pages with a report page twice the logged one', () => {
    const log = logging(KIB4);
    const dirty = [0, 127, 128, 255, 256, 511];
    for (const bit of dirty) log.mark(BigInt(bit) * 8192n + KIB4, 1);
    expect(bitsOf(log.report(0n, 512n * 8192n, 8192n))).toEqual(dirty);
  });

  it('covers hundreds of logged pages with a report page half of them', () => {
    const log = logging(8192n);
    log.mark(511n * 8192n, 1);
    expect(bitsOf(log.report(0n, 512n * 8192n, KIB4))).toEqual([1022, 1023]);
  });

  it('reaches the last byte of the address space', () => {
    const log = logging(KIB4);
    log.mark(U64 - 1n, 1);
    expect(bitsOf(log.report(U64 - 4n * KIB4, 4n * KIB4, KIB4))).toEqual([3]);
    log.mark(U64 - 1n, 1);
    expect(bitsOf(log.report(0n, U64, 1n << 60n))).toEqual([15]);
    expect(bitsOf(log.report(0n, U64, 1n << 60n))).toEqual([]);
  });

  it('is exact for a huge range that begins at an odd address', () => {
    const log = logging(KIB4);
    const start = (1n << 40n) + 3n;
    const pageSize = 1n << 42n;
    for (const edge of [1n, 7n, 100n]) log.mark(start + edge * pageSize - KIB4, 1);
    expect(bitsOf(log.report(start, 200n * pageSize, pageSize))).toEqual([0, 6, 99]);
  });
});
