import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import {
  AddressSpace,
  type DmaErrorCode,
  type DmaMap,
  type DmaMode,
  dmaErrors,
} from '../../src/memory/index.ts';
import { dmaError, fileBytes, guestFile, guestMappings, native, openFds, pattern, request } from './guest.ts';

const PAGE = 4096n;
const U64 = 1n << 64n;
const MODES: DmaMode[] = ['mmap', 'file', 'message'];

let fd = -1;
let before = 0;
let space: AddressSpace;
beforeEach(() => {
  before = openFds();
  fd = guestFile(16 * 4096);
  space = new AddressSpace(native, { maxMaps: 8 });
});
afterEach(() => {
  space.clear();
  native.close(fd);
  expect(openFds()).toBe(before);
  expect(guestMappings()).toBe(0);
});

/** A map of the guest file; message maps get no fd. */
function map(mode: DmaMode, iova: bigint, size: bigint, extra: Parameters<typeof request>[4] = {}): void {
  space.map(request(mode, iova, size, mode === 'message' ? null : native.dup(fd), extra));
}

const bytes = (length: number) => new Uint8Array(length);

it('tells how the device reaches what it may write', () => {
  map('mmap', 0n, PAGE);
  map('file', PAGE, PAGE);
  map('message', 1n << 40n, 1n << 30n);
  map('message', 2n * PAGE, PAGE, { write: false });
  expect(space.writableBytes).toEqual({ direct: 2n * PAGE, message: 1n << 30n });
});

describe('map', () => {
  it.each<[string, DmaMap, DmaErrorCode]>([
    ['no size', request('message', 0n, 0n, null), 'ERR_DMA_MAP_INVALID'],
    ['a size past 2^64', request('message', U64 - PAGE, PAGE + 1n, null), 'ERR_DMA_MAP_INVALID'],
    ['a negative address', request('message', -1n, PAGE, null), 'ERR_DMA_MAP_INVALID'],
    ['mmap without an fd', request('mmap', 0n, PAGE, null), 'ERR_DMA_MAP_INVALID'],
    ['file access without an fd', request('file', 0n, PAGE, null), 'ERR_DMA_MAP_INVALID'],
    ['an equal map', request('message', 32n * PAGE, PAGE, null), 'ERR_DMA_MAP_EXISTS'],
    ['an overlap of one byte', request('message', 33n * PAGE - 1n, PAGE, null), 'ERR_DMA_MAP_EXISTS'],
    ['an overlap from below', request('message', 0n, 32n * PAGE + 1n, null), 'ERR_DMA_MAP_EXISTS'],
  ])('refuses %s', (_what, map, code) => {
    space.map(request('message', 32n * PAGE, PAGE, null));
    expect(dmaError(() => space.map(map), code).errno).toBe(dmaErrors[code]);
    expect(space.mapCount).toBe(1);
  });

  it.each<[string, Parameters<typeof request>[4], bigint, DmaErrorCode]>([
    ['an offset that no file has', { offset: 1n << 60n }, PAGE, 'ERR_DMA_MAP_INVALID'],
    ['a size that no file has', {}, 1n << 60n, 'ERR_DMA_MAP_INVALID'],
    ['an overlap', {}, 100n * PAGE, 'ERR_DMA_MAP_EXISTS'],
    ['a region past the end of the file', { offset: 15n * PAGE }, PAGE + 1n, 'ERR_DMA_MAP_FD'],
  ])('closes the fd when it refuses %s', (_what, extra, size, code) => {
    space.map(request('message', 64n * PAGE, PAGE, null));
    for (const mode of ['mmap', 'file'] as const) {
      const own = native.dup(fd);
      dmaError(() => space.map(request(mode, 0n, size, own, extra)), code);
      expect(fileBytes(own, 0, 1)).toHaveLength(0);
    }
    expect(space.mapCount).toBe(1);
  });

  it('prefers EINVAL to EEXIST, EEXIST to ENOSPC, and ENOSPC to what the fd says', () => {
    const full = new AddressSpace(native, { maxMaps: 1 });
    full.map(request('message', 0n, PAGE, null));
    dmaError(() => full.map(request('message', 0n, 0n, null)), 'ERR_DMA_MAP_INVALID');
    dmaError(() => full.map(request('message', 0n, PAGE, null)), 'ERR_DMA_MAP_EXISTS');
    dmaError(() => full.map(request('message', PAGE, PAGE, null)), 'ERR_DMA_MAP_LIMIT');
    dmaError(() => full.map(request('mmap', PAGE, 99n * PAGE, native.dup(fd))), 'ERR_DMA_MAP_LIMIT');
    full.unmap(0n, PAGE);
    dmaError(() => full.map(request('mmap', PAGE, 99n * PAGE, native.dup(fd))), 'ERR_DMA_MAP_FD');
    expect(full.mapCount).toBe(0);
  });

  it('takes neighbours, odd addresses and sizes, and the end of the address space', () => {
    map('mmap', 1n, 4095n, { offset: 1n });
    map('file', 4096n, 3n, { offset: 4096n });
    map('message', 4099n, 1n);
    map('message', U64 - 1n, 1n);
    const target = bytes(4095 + 3);
    space.readSync(1n, target);
    expect(target).toEqual(pattern(1, 4098));
    expect(space.mapCount).toBe(4);
  });

  it('takes a map of all 2^64 bytes', () => {
    space.map(request('message', 0n, U64, null));
    expect(space.reach(U64 - 8n, 8, 'write')).toBe('message');
    dmaError(() => space.reach(U64 - 8n, 9, 'write'), 'ERR_DMA_UNMAPPED');
  });

  it('closes the fd of a map that takes messages, or that permits nothing', () => {
    space.map(request('message', 0n, PAGE, native.dup(fd)));
    space.map(request('mmap', PAGE, PAGE, native.dup(fd), { read: false, write: false }));
    expect(openFds()).toBe(before + 1);
    expect(guestMappings()).toBe(0);
    dmaError(() => space.readSync(PAGE, bytes(1)), 'ERR_DMA_PROTECTED');
  });

  it('keeps one fd open for each file, however many maps there are of it', () => {
    map('mmap', 0n, PAGE);
    map('file', PAGE, PAGE);
    map('mmap', 2n * PAGE, PAGE);
    expect(openFds()).toBe(before + 2);
    space.unmap(0n, PAGE);
    space.unmap(PAGE, PAGE);
    expect(openFds()).toBe(before + 2);
    space.unmap(2n * PAGE, PAGE);
    expect(openFds()).toBe(before + 1);
  });

  it('keeps an fd that can be written apart from one that can only be read', () => {
    map('mmap', 0n, PAGE);
    map('mmap', PAGE, PAGE, { write: false });
    expect(openFds()).toBe(before + 3);
  });

  it('describes all maps, so that another process can make them again', () => {
    map('mmap', PAGE, PAGE, { offset: PAGE });
    map('file', 0n, PAGE, { write: false });
    map('message', 2n * PAGE, PAGE);
    const described = space.describeMaps();
    const again = new AddressSpace(native);
    for (const one of described) again.map({ ...one, fd: one.fd === null ? null : native.dup(one.fd) });
    again.writeSync(PAGE, Uint8Array.of(1, 2, 3));
    expect(fileBytes(fd, 4096, 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(again.describeMaps().map(({ fd: _, ...rest }) => rest)).toEqual(
      described.map(({ fd: _, ...rest }) => rest),
    );
    expect(described.map(({ iova, offset, flags }) => [iova, offset, flags.mode])).toEqual([
      [0n, 0n, 'file'],
      [PAGE, PAGE, 'mmap'],
      [2n * PAGE, 0n, 'message'],
    ]);
    again.clear();
  });

  it('holds 65,535 maps unless told otherwise', () => {
    const big = new AddressSpace(native);
    for (let index = 0n; index < 65_535n; index++) big.map(request('message', index * PAGE, PAGE, null));
    dmaError(() => big.map(request('message', U64 - PAGE, PAGE, null)), 'ERR_DMA_MAP_LIMIT');
    expect(big.reach(PAGE, 4096 * 65_534, 'read')).toBe('message');
  });
});

describe('unmap', () => {
  it('removes only an exact match', () => {
    map('mmap', PAGE, 2n * PAGE);
    for (const [iova, size] of [
      [PAGE, PAGE],
      [2n * PAGE, PAGE],
      [0n, 3n * PAGE],
      [PAGE, 3n * PAGE],
      [PAGE, 0n],
    ] as const) {
      expect(dmaError(() => space.unmap(iova, size), 'ERR_DMA_UNMAP_UNKNOWN').errno).toBe(Errno.ENOENT);
    }
    space.unmap(PAGE, 2n * PAGE);
    dmaError(() => space.unmap(PAGE, 2n * PAGE), 'ERR_DMA_UNMAP_UNKNOWN');
    dmaError(() => space.readSync(PAGE, bytes(1)), 'ERR_DMA_UNMAPPED');
  });

  it('empties views and says so by the generation', () => {
    map('mmap', 0n, PAGE);
    map('mmap', PAGE, PAGE);
    const view = space.view(0n, 100);
    const { generation } = space;
    map('message', 9n * PAGE, PAGE);
    expect(space.generation).toBe(generation);
    space.unmap(0n, PAGE);
    expect(space.generation).not.toBe(generation);
    expect(view).toHaveLength(0);
    const { generation: later } = space;
    space.unmapAll();
    expect(space.generation).not.toBe(later);
    expect(space.mapCount).toBe(0);
  });

  it('lets go of memory and fds with all maps', () => {
    for (const [index, mode] of MODES.entries()) map(mode, BigInt(index) * PAGE, PAGE);
    space.unmapAll();
    expect(openFds()).toBe(before + 1);
    expect(guestMappings()).toBe(0);
  });
});

describe('an observer that takes its time', () => {
  const ends: (() => void)[] = [];
  const later = (): Promise<void> => new Promise((resolve) => ends.push(resolve));

  beforeEach(() => {
    ends.splice(0);
    space.observe({ mapped: later, unmapping: later });
  });

  it('is waited for, and the map stays until it has ended', async () => {
    const mapped = space.map(request('message', 0n, PAGE, null));
    ends.shift()?.();
    await mapped;
    const gone = space.unmap(0n, PAGE);
    expect(space.mapCount).toBe(1);
    ends.shift()?.();
    await gone;
    expect(space.mapCount).toBe(0);
  });

  it('does not keep maps beyond their client, nor takes away those of the next one', async () => {
    map('mmap', 0n, PAGE);
    const gone = space.unmap(0n, PAGE);
    space.clear();
    expect(openFds()).toBe(before + 1);
    map('mmap', 0n, PAGE);
    for (const end of ends) end();
    await gone;
    expect(space.mapCount).toBe(1);
  });

  it('is waited for until the last of all maps', async () => {
    for (const at of [0n, PAGE]) map('message', at, PAGE);
    ends.splice(0);
    let ended = false;
    const gone = Promise.resolve(space.unmapAll()).then(() => {
      ended = true;
    });
    expect(space.mapCount).toBe(0);
    ends.shift()?.();
    await Promise.resolve();
    expect(ended).toBe(false);
    ends.shift()?.();
    await gone;
  });
});
