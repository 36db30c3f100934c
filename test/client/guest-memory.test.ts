import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GuestMemory } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import type { Native } from '../../src/native/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { native } from './fake-server.ts';

let before: string[] = [];
let memory: GuestMemory;
beforeEach(() => {
  before = openFds();
  memory = new GuestMemory(native);
});
afterEach(() => {
  memory.close();
  expect(openFds()).toEqual(before);
});

describe('GuestMemory', () => {
  it('makes zeroed memory that whoever has the fd shares', () => {
    const region = memory.add({ iova: 0x10000n, size: 0x2000 });
    expect(region).toMatchObject({
      iova: 0x10000n,
      size: 0x2000n,
      access: 'mmap',
      readable: true,
      writable: true,
    });
    expect(region.bytes).toHaveLength(0x2000);
    expect(region.bytes.every((byte) => byte === 0)).toBe(true);
    const other = native.map(region.fd ?? -1, 0, 0x2000, 3);
    if (typeof other === 'number') throw new Error(`map: ${other}`);
    new Uint8Array(other)[5] = 7;
    expect(region.bytes[5]).toBe(7);
    native.unmap(other);
  });

  it('seals it, so that nobody can shrink it under us', () => {
    const region = memory.add({ iova: 0n, size: 0x1000 });
    // A second seal is only taken when the first allows it: F_SEAL_SHRINK does.
    expect(native.sealShrink(region.fd ?? -1)).toBe(0);
  });

  it('makes memory without a file, of any size, for access by message', () => {
    const region = memory.add({ iova: 5n, size: 17, access: 'message', writable: false });
    expect(region).toMatchObject({ fd: null, size: 17n, writable: false });
    expect(region.bytes).toHaveLength(17);
  });

  it.each([
    ['no bytes', 0x1000n, 0],
    ['a negative size', 0x1000n, -4096],
    ['a negative address', -4096n, 4096],
    ['an end beyond 2^64', (1n << 64n) - 4096n, 8192],
    ['a size that is no multiple of a page', 0x1000n, 100],
    ['a size that a number rounds', 0n, 1n << 60n],
    ['an overlap at its end', 0x1000n, 0x10000],
    ['an overlap at its start', 0x1ff00n, 4096],
    ['an overlap inside', 0x10000n, 4096],
  ])('refuses a region with %s', (_, iova, size) => {
    const first = memory.add({ iova: 0x10000n, size: 0x10000 });
    expect(() => memory.add({ iova, size })).toThrow(
      expect.objectContaining({ code: 'ERR_CLIENT_ARGUMENT' }),
    );
    expect(memory.regions).toEqual([first]);
  });

  it('takes regions side by side, and to the end of the address space', () => {
    memory.add({ iova: 0x10000n, size: 0x1000 });
    memory.add({ iova: 0x11000n, size: 0x1000 });
    memory.add({ iova: (1n << 64n) - 4096n, size: 4096 });
    expect(memory.regions).toHaveLength(3);
  });

  it('frees a region once: its bytes detach', () => {
    const region = memory.add({ iova: 0n, size: 0x1000 });
    memory.remove(region);
    memory.remove(region);
    expect(region.bytes).toHaveLength(0);
    expect(memory.regions).toEqual([]);
  });

  it.each([
    ['the file', { memfd: () => -Errno.EMFILE }],
    ['the mapping', { map: () => -Errno.ENOMEM }],
  ])('leaves nothing behind when %s can not be had', (_, failing: Partial<Native>) => {
    const poor = new GuestMemory({ ...native, ...failing });
    expect(() => poor.add({ iova: 0n, size: 4096 })).toThrow(expect.objectContaining({ code: 'ERR_NATIVE' }));
    expect(poor.regions).toEqual([]);
  });
});
