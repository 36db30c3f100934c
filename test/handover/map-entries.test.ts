import { expect, it } from 'vitest';
import { FdTable } from '../../src/handover/fd-table.ts';
import { decodeMaps, encodeMaps } from '../../src/handover/map-entries.ts';
import type { DmaMap } from '../../src/memory/index.ts';

const flags = { read: true, write: false, mode: 'mmap' } as const;
const closed: number[] = [];
const native = {
  dup: (fd: number) => fd + 1000,
  close: (fd: number) => {
    closed.push(fd);
    return 0;
  },
};

function map(iova: bigint, size: bigint, fd: number | null): DmaMap {
  return { iova, size, offset: iova, fd, flags };
}

it('tells of the largest first, of each file once, and leaves out what is not mapped', () => {
  const file: DmaMap = { ...map(9n, 100n, 7), flags: { ...flags, mode: 'file' } };
  const { bytes, fds } = encodeMaps([
    map(1n, 10n, 5),
    map(2n, 30n, 6),
    map(3n, 20n, 5),
    map(4n, 40n, null),
    file,
  ]);
  expect(fds).toEqual([6, 5]);
  const maps = decodeMaps(bytes, new FdTable(native, [60, 50]));
  expect(maps).toEqual([map(2n, 30n, 60), map(3n, 20n, 50), map(1n, 10n, 1050)]);
});

it('needs no more descriptors than one message carries', () => {
  const many = Array.from({ length: 300 }, (_, i) => map(BigInt(i), 1n, 10 + i));
  const { bytes, fds } = encodeMaps(many);
  expect(fds).toHaveLength(253);
  expect(decodeMaps(bytes, new FdTable(native, fds))).toHaveLength(253);
});

it.each([
  ['cut short', (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 1), [5]],
  ['with too much behind', (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(1)]), [5]],
  ['without its descriptor', (bytes: Uint8Array) => bytes, []],
  ['with a descriptor that nothing names', (bytes: Uint8Array) => bytes, [5, 6]],
])('refuses a message %s, and closes what came with it', (_what, spoil, fds) => {
  closed.length = 0;
  const { bytes } = encodeMaps([map(1n, 10n, 5)]);
  expect(() => decodeMaps(spoil(bytes), new FdTable(native, fds))).toThrow(
    /the record of the running server/,
  );
  expect(closed).toEqual(fds);
});
