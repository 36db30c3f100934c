import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AddressSpace, adoptMaps, type DmaMap } from '../../src/memory/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { openFds } from '../helpers/open-fds.ts';

const native = loadNative();
const flags = { read: true, write: true, mode: 'mmap' } as const;
const SIZE = 4096n;

let space: AddressSpace;
let files: number[];
let told: string[];
beforeEach(() => {
  files = ['one', 'other'].map((name) => native.memfd(name, 16 * 4096, true));
  space = new AddressSpace(native);
  told = [];
  space.observe({
    mapped: ({ iova }) => void told.push(`+${iova}`),
    unmapping: ({ iova }) => void told.push(`-${iova}`),
  });
});
afterEach(() => {
  space.clear();
  for (const fd of files) native.close(fd);
});

function mapAt(iova: bigint, file = 0, change: Partial<DmaMap> = {}): DmaMap {
  const fd = change.fd === null ? null : native.dup(files[file] ?? -1);
  return { iova, size: SIZE, offset: fd === null ? 0n : iova, flags, ...change, fd };
}

describe('maps that are adopted', () => {
  it('stay when they are the same memory, by whatever descriptor', () => {
    for (const iova of [0n, 0x1000n]) space.map(mapAt(iova));
    const before = space.generation;
    told = [];
    adoptMaps(native, space, [mapAt(0n), mapAt(0x1000n)]);
    expect([told, space.generation]).toEqual([[], before]);
  });

  it('leave what is not among them, and bring what is new', () => {
    for (const iova of [0n, 0x1000n]) space.map(mapAt(iova));
    told = [];
    adoptMaps(native, space, [mapAt(0x1000n), mapAt(0x2000n)]);
    expect(told).toEqual(['-0', '+8192']);
    expect(space.describeMaps().map(({ iova }) => iova)).toEqual([0x1000n, 0x2000n]);
  });

  it.each([
    ['another file', 1, {}],
    ['another place in the file', 0, { offset: 0x3000n }],
    ['another size', 0, { size: 0x2000n }],
    ['another protection', 0, { flags: { ...flags, write: false } }],
    ['another way of access', 0, { flags: { ...flags, mode: 'file' as const } }],
    ['no file', 0, { fd: null, flags: { ...flags, mode: 'message' as const } }],
  ])('are made anew for %s', (_what, file, change) => {
    space.map(mapAt(0n));
    told = [];
    const wanted = mapAt(0n, file, change);
    adoptMaps(native, space, [wanted]);
    expect(told).toEqual(['-0', '+0']);
    expect(space.describeMaps()).toMatchObject([{ iova: 0n, size: wanted.size, offset: wanted.offset }]);
  });

  it('leave no descriptor open, not even when one of them is refused', () => {
    space.map(mapAt(0n));
    const before = openFds().length;
    const tooLong = mapAt(0x1000n, 0, { size: 0x100_0000n });
    expect(() => adoptMaps(native, space, [mapAt(0n), tooLong, mapAt(0x200_0000n)])).toThrow(/ends at byte/);
    expect(openFds().length).toBe(before);
    expect(space.mapCount).toBe(1);
  });
});
