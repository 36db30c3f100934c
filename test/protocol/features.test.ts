import { describe, expect, it } from 'vitest';
import { Feature, features } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

it('declares every feature under its own name', () => {
  expect(Object.entries(features).map(([key, { id, name }]) => [key, name, id])).toEqual(
    Object.entries(Feature).map(([name, id]) => [name, name, id]),
  );
});

it.each([
  ['MIGRATION', features.MIGRATION.get.reply, '0700000000000000', { flags: 7n }],
  [
    'MIG_DEVICE_STATE',
    features.MIG_DEVICE_STATE.get.reply,
    '06000000 ffffffff',
    { deviceState: 6, dataFd: -1 },
  ],
  [
    'MIG_DEVICE_STATE',
    features.MIG_DEVICE_STATE.set.request,
    '04000000 05000000',
    { deviceState: 4, dataFd: 5 },
  ],
  ['MIG_DATA_SIZE', features.MIG_DATA_SIZE.get.reply, '0000000001000000', { stopCopyLength: 1n << 32n }],
] as const)('%s', (_, payload, bytes, value) => {
  expect(payload.decode(hex(bytes))).toEqual(value);
  expect(toHex(payload.encode(value as never))).toBe(toHex(hex(bytes)));
});

it('shows a state that it does not know', () => {
  expect(features.MIG_DEVICE_STATE.get.reply.describe(hex('09000000 ffffffff'))).toBe(
    'device_state=unknown state 9 data_fd=-1',
  );
});

it('DMA_LOGGING_STOP has no data and ignores any', () => {
  expect(features.DMA_LOGGING_STOP.set.request.encode({})).toHaveLength(0);
  expect(features.DMA_LOGGING_STOP.set.request.decode(hex('0011'))).toEqual({});
});

describe('DMA_LOGGING_START', () => {
  const { request } = features.DMA_LOGGING_START.set;
  const START =
    '0010000000000000 02000000 00000000 | 0000000001000000 0010000000000000 | 0010000001000000 0020000000000000';
  const first = { iova: 0x1_0000_0000n, length: 0x1000n };
  const start = { pageSize: 4096n, numRanges: 2, ranges: [first, { iova: 0x1_0000_1000n, length: 0x2000n }] };

  it('is page_size, num_ranges, the ranges; none means everything', () => {
    expect(request.decode(hex(START))).toEqual(start);
    expect(toHex(request.encode(start))).toBe(toHex(hex(START)));
    expect(request.decode(hex('0010000000000000 00000000 00000000'))).toEqual({
      pageSize: 4096n,
      numRanges: 0,
      ranges: [],
    });
  });

  it('ignores the reserved bytes', () => {
    expect(request.decode(hex('0010000000000000 00000000 ffffffff')).ranges).toEqual([]);
  });

  const last = 1n << 64n;
  it.each([
    ['page size 0', { pageSize: 0n }, 'EINVAL', 'page_size', 0],
    ['page size 4097', { pageSize: 4097n }, 'EINVAL', 'page_size', 0],
    ['an unaligned start', { ranges: [{ iova: 1n, length: 4096n }] }, 'EINVAL', 'ranges', 0],
    ['an unaligned length', { ranges: [{ iova: 0n, length: 4097n }] }, 'EINVAL', 'ranges', 0],
    ['an empty range', { ranges: [{ iova: 0n, length: 0n }] }, 'EINVAL', 'ranges', 0],
    ['a range to 2^64', { ranges: [{ iova: last - 4096n, length: 4096n }] }, 'EOVERFLOW', 'ranges', 0],
    ['a range past 2^64', { ranges: [{ iova: last - 4096n, length: 8192n }] }, 'EOVERFLOW', 'ranges', 0],
    ['the same range twice', { ranges: [first, first] }, 'EINVAL', 'ranges', 0],
    [
      'overlapping ranges in any order',
      {
        ranges: [
          { iova: 4096n, length: 4096n },
          { iova: 0n, length: 8192n },
        ],
      },
      'EINVAL',
      'ranges',
      0,
    ],
  ] as const)('refuses %s', (_, wrong, errno, field, byte) => {
    expect(refused(() => request.encode({ ...start, ...wrong }))).toEqual(at(errno, field, byte));
  });

  it('takes 256 ranges and refuses 257 with E2BIG before it reads them', () => {
    const ranges = Array.from({ length: 256 }, (_, i) => ({ iova: BigInt(i) * 8192n, length: 4096n }));
    expect(request.decode(request.encode({ pageSize: 4096n, ranges })).ranges).toHaveLength(256);
    expect(refused(() => request.decode(hex('0010000000000000 01010000 00000000')))).toEqual(
      at('E2BIG', 'num_ranges', 8),
    );
  });
});

describe('DMA_LOGGING_REPORT', () => {
  const { request, reply } = features.DMA_LOGGING_REPORT.get;
  const REPORT = '0000000001000000 0000040000000000 0010000000000000';
  const report = { iova: 0x1_0000_0000n, length: 0x4_0000n, pageSize: 4096n };

  it('is iova, length, page_size; the reply adds the bitmap', () => {
    expect(request.decode(hex(REPORT))).toEqual(report);
    expect(toHex(request.encode(report))).toBe(toHex(hex(REPORT)));
    const bitmap = hex('0100000000000080');
    expect(reply.decode(hex(`${REPORT} 0100000000000080`))).toEqual({ ...report, bitmap });
    expect(toHex(reply.encode({ ...report, bitmap }))).toBe(toHex(hex(`${REPORT} 0100000000000080`)));
  });

  it.each([
    ['page size 0', { pageSize: 0n }, 'EINVAL', 'page_size', 16],
    ['page size 2048', { pageSize: 2048n }, 'EINVAL', 'page_size', 16],
    ['page size 4097', { pageSize: 4097n }, 'EINVAL', 'page_size', 16],
    ['a range to 2^64', { iova: (1n << 64n) - 0x4_0000n }, 'EOVERFLOW', 'iova', 0],
    ['an empty range', { length: 0n }, 'EINVAL', 'length', 8],
    ['a bitmap of more than 256 MiB', { iova: 0n, length: 1n << 44n }, 'EINVAL', 'length', 8],
  ] as const)('refuses %s', (_, wrong, errno, field, byte) => {
    expect(refused(() => request.check({ ...report, ...wrong }))).toEqual(at(errno, field, byte));
  });

  it.each([
    ['too short', ''],
    ['too long', '01000000000000800000000000000000'],
    ['no whole word', '01000000'],
  ])('refuses a bitmap that is %s', (_, bitmap) => {
    expect(refused(() => reply.decode(hex(`${REPORT} ${bitmap}`)))).toMatchObject({
      errno: 'EINVAL',
      field: 'bitmap',
    });
  });
});
