import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { type FileRegion, requireInsideFile } from '../../src/memory/backing.ts';
import { FileBacking } from '../../src/memory/file-backing.ts';
import { MappedBacking, WindowBudget } from '../../src/memory/mapped-backing.ts';
import { statFile } from '../../src/memory/mapping.ts';
import type { Native } from '../../src/native/index.ts';
import { dmaError, fileBytes, guestFile, guestMappings, native, openFds, pattern } from './guest.ts';

const WINDOW = 65_536;
const BOTH = { read: true, write: true };

let fd = -1;
let before = 0;
beforeEach(() => {
  before = openFds();
  fd = guestFile(4 * WINDOW);
});
afterEach(() => {
  native.close(fd);
  expect(openFds()).toBe(before);
  expect(guestMappings()).toBe(0);
});

const scratch = mkdtempSync(join(tmpdir(), 'ferry-memory-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function mapped(
  region: Omit<FileRegion, 'fd'>,
  budget = new WindowBudget(),
  system: Native = native,
): MappedBacking {
  return MappedBacking.open(system, { fd, ...region }, BOTH, statFile, budget);
}

describe.each([
  ['one window', undefined],
  ['many windows', WINDOW],
])('MappedBacking in %s', (_what, windowSize) => {
  const regions = [
    { offset: 0, size: 4 * WINDOW },
    { offset: 4096, size: 3 * WINDOW },
    { offset: 12_345, size: 2 * WINDOW + 7 },
    { offset: WINDOW - 1, size: 2 },
    { offset: 4 * WINDOW - 1, size: 1 },
  ];

  it.each(regions)('reads and writes exactly the file from $offset on', ({ offset, size }) => {
    const backing = mapped({ offset, size }, new WindowBudget(windowSize));
    for (const length of [1, 31, 32, 33, 500, WINDOW, WINDOW + 1, size]) {
      if (length > size) continue;
      for (const at of [0, Math.floor((size - length) / 2), size - length]) {
        const target = new Uint8Array(length + 2);
        backing.read(at, target, 1, length);
        expect(Buffer.compare(target.subarray(1, length + 1), fileBytes(fd, offset + at, length))).toBe(0);
        expect([target[0], target[length + 1]]).toEqual([0, 0]);
      }
    }
    const data = pattern(99, size);
    backing.write(0, data, 0, size);
    expect(Buffer.compare(fileBytes(fd, offset, size), data)).toBe(0);
    expect(Buffer.compare(fileBytes(fd, 0, offset), pattern(0, offset))).toBe(0);
    backing.close();
  });

  it('gives views of what lies in one window', () => {
    const backing = mapped({ offset: 4096, size: 2 * WINDOW }, new WindowBudget(windowSize));
    const view = backing.view(100, 50);
    expect(view).toEqual(pattern(4196, 50));
    view?.fill(7);
    expect(fileBytes(fd, 4196, 50)).toEqual(new Uint8Array(50).fill(7));
    const crossing = backing.view(WINDOW - 4096 - 1, 2);
    expect(crossing === null).toBe(windowSize !== undefined);
    backing.close();
    expect(view).toHaveLength(0);
  });
});

describe('MappedBacking', () => {
  it('refuses more windows than its budget and gives them back on close', () => {
    const budget = new WindowBudget(WINDOW, 3);
    const first = mapped({ offset: 0, size: 2 * WINDOW }, budget);
    const error = dmaError(() => mapped({ offset: 1, size: WINDOW }, budget), 'ERR_DMA_MAP_LIMIT');
    expect(error.errno).toBe(Errno.ENOSPC);
    first.close();
    mapped({ offset: 1, size: 2 * WINDOW }, budget).close();
    mapped({ offset: 0, size: 3 * WINDOW }, budget).close();
  });

  it('leaves nothing behind when a later window fails', () => {
    const budget = new WindowBudget(WINDOW, 2);
    const failing: Native = {
      ...native,
      map: (file, offset, length, bits) =>
        offset > 0 ? -Errno.ENOMEM : native.map(file, offset, length, bits),
    };
    const error = dmaError(() => mapped({ offset: 0, size: 2 * WINDOW }, budget, failing), 'ERR_DMA_MAP_FD');
    expect(error.errno).toBe(Errno.ENOMEM);
    expect(guestMappings()).toBe(0);
    mapped({ offset: 0, size: 2 * WINDOW }, budget).close();
  });

  it('seals the file, so that nobody can shrink it', () => {
    const backing = mapped({ offset: 0, size: 100 });
    expect(() => ftruncateSync(fd, 0)).toThrow(/EPERM/);
    backing.close();
  });

  it('survives a file that can not be sealed and is shrunk', () => {
    const file = openSync(join(scratch, 'shrinks'), 'w+');
    ftruncateSync(file, 8192);
    const backing = MappedBacking.open(
      native,
      { fd: file, offset: 0, size: 8192 },
      BOTH,
      statFile,
      new WindowBudget(),
    );
    backing.write(0, new Uint8Array(8192).fill(1), 0, 8192);
    ftruncateSync(file, 0);
    const target = new Uint8Array(100).fill(9);
    backing.read(5000, target, 0, 100);
    expect(target).toEqual(new Uint8Array(100));
    backing.close();
    closeSync(file);
  });

  it('refuses to map what can neither be sealed nor guarded', () => {
    const bare: Native = { ...native, sealShrink: () => -Errno.EPERM, guardMappings: () => -Errno.EINVAL };
    dmaError(() => mapped({ offset: 0, size: 100 }, new WindowBudget(), bare), 'ERR_DMA_MAP_FD');
  });

  it('refuses an fd that can not be mapped with EINVAL', () => {
    const event = native.eventfd(0);
    const open = () =>
      MappedBacking.open(native, { fd: event, offset: 0, size: 8 }, BOTH, statFile, new WindowBudget());
    expect(dmaError(open, 'ERR_DMA_MAP_FD')).toMatchObject({
      errno: Errno.EINVAL,
      context: { reason: 'ENODEV' },
    });
    native.close(event);
  });

  it('refuses to write to a file that is open for reading only', () => {
    const path = join(scratch, 'read-only');
    closeSync(openSync(path, 'w'));
    const file = openSync(path, 'r+');
    ftruncateSync(file, 4096);
    closeSync(file);
    const readOnly = openSync(path, 'r');
    const region = { fd: readOnly, offset: 0, size: 4096 };
    const open = (write: boolean) =>
      MappedBacking.open(native, region, { read: true, write }, statFile, new WindowBudget());
    expect(dmaError(() => open(true), 'ERR_DMA_MAP_FD').errno).toBe(Errno.EACCES);
    open(false).close();
    closeSync(readOnly);
  });
});

describe('requireInsideFile', () => {
  const region = (offset: number, size: number, file = fd) => ({ fd: file, offset, size });

  it('takes a region that ends with the file and refuses one byte more', () => {
    requireInsideFile(region(0, 4 * WINDOW), statFile);
    requireInsideFile(region(4 * WINDOW - 1, 1), statFile);
    for (const [offset, size] of [
      [0, 4 * WINDOW + 1],
      [4 * WINDOW, 1],
    ] as const) {
      const error = dmaError(() => requireInsideFile(region(offset, size), statFile), 'ERR_DMA_MAP_FD');
      expect(error.errno).toBe(Errno.EINVAL);
    }
  });

  it('does not judge what has no size', () => {
    const event = native.eventfd(0);
    requireInsideFile(region(0, 1 << 30, event), statFile);
    native.close(event);
  });

  it('refuses an fd that is not open', () => {
    expect(dmaError(() => requireInsideFile(region(0, 1, 1_000_000), statFile), 'ERR_DMA_MAP_FD').errno).toBe(
      Errno.EBADF,
    );
  });
});

describe('FileBacking', () => {
  it('reads and writes the file at its offset, and leaves the fd open', () => {
    const backing = FileBacking.open(native, { fd, offset: 1000, size: 500 }, statFile);
    const target = new Uint8Array(12);
    backing.read(490, target, 1, 10);
    expect(target.subarray(1, 11)).toEqual(pattern(1490, 10));
    backing.write(3, Uint8Array.of(0, 1, 2, 3), 1, 2);
    expect(fileBytes(fd, 1002, 4)).toEqual(
      Uint8Array.of(pattern(1002, 1)[0] ?? 0, 1, 2, pattern(1005, 1)[0] ?? 0),
    );
    expect(backing.view()).toBeNull();
    backing.close();
  });

  it('goes on after a short read and a short write', () => {
    const slow: Native = {
      ...native,
      pread: (file, into, offset, length, position) =>
        native.pread(file, into, offset, Math.min(3, length), position),
      pwrite: (file, from, offset, length, position) =>
        native.pwrite(file, from, offset, Math.min(3, length), position),
    };
    const backing = FileBacking.open(slow, { fd, offset: 10, size: 100 }, statFile);
    const target = new Uint8Array(20);
    backing.read(5, target, 0, 20);
    expect(target).toEqual(pattern(15, 20));
    backing.write(0, pattern(77, 20), 0, 20);
    expect(fileBytes(fd, 10, 20)).toEqual(pattern(77, 20));
    backing.close();
  });

  it('reports a file that became too short, and what the kernel says', () => {
    const copy = native.dup(fd);
    const backing = FileBacking.open(native, { fd: copy, offset: 0, size: 8192 }, statFile);
    ftruncateSync(fd, 4096);
    const target = new Uint8Array(200);
    expect(dmaError(() => backing.read(4000, target, 0, 200), 'ERR_DMA_IO')).toMatchObject({
      errno: Errno.EIO,
      context: { position: 4096 },
    });
    native.close(copy);
    expect(dmaError(() => backing.read(0, target, 0, 1), 'ERR_DMA_IO').errno).toBe(Errno.EBADF);
  });
});
