import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';

const native = loadNative();
/** asm-generic/ioctls.h: how many bytes can be read, as an int. */
const FIONREAD = 0x541b;

let folder: string;
let fd: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-test-'));
  writeFileSync(join(folder, 'file'), '0123456789');
  fd = openSync(join(folder, 'file'), 'r+');
});

afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

describe('ioctl', () => {
  it('gives the kernel the structure and returns what it put there', () => {
    const answer = new Uint8Array(4);
    expect(native.ioctl(fd, FIONREAD, answer, null, 0)).toBe(0);
    expect([...answer]).toEqual([10, 0, 0, 0]);
  });

  it('returns the errno negated', () => {
    expect(native.ioctl(fd, 0x3b64, 0, null, 0)).toBe(-Errno.ENOTTY);
    expect(native.ioctl(-1, 0x3b64, 0, null, 0)).toBe(-Errno.EBADF);
  });

  it('puts the address of what is pointed at into the structure', () => {
    const structure = new Uint8Array(24);
    native.ioctl(fd, 0x3b64, structure, new Uint8Array(4096), 8);
    const view = new DataView(structure.buffer);
    expect([view.getBigUint64(0, true), view.getBigUint64(16, true)]).toEqual([0n, 0n]);
    expect(view.getBigUint64(8, true)).toBeGreaterThan(4096n);
  });

  it.each([17, 24, 2 ** 32])('takes no pointer at %d of 24 bytes', (at) => {
    expect(() => native.ioctl(fd, 0x3b64, new Uint8Array(24), new Uint8Array(8), at)).toThrow(RangeError);
  });

  it('works on another thread too', async () => {
    const answer = new Uint8Array(4);
    expect(await native.ioctlLater(fd, FIONREAD, answer, null, 0)).toBe(0);
    expect(answer[0]).toBe(10);
  });
});

describe('read and write on another thread', () => {
  it('go on where the file is', async () => {
    const into = new Uint8Array(4);
    expect(await native.readLater(fd, into)).toBe(4);
    expect(Buffer.from(into).toString()).toBe('0123');
    expect(await native.writeLater(fd, Buffer.from('xy'))).toBe(2);
    expect(await native.readLater(fd, into)).toBe(4);
    expect(Buffer.from(into).toString()).toBe('6789');
    expect(await native.readLater(fd, into)).toBe(0);
  });

  it('give the errno negated', async () => {
    expect(await native.readLater(-1, new Uint8Array(1))).toBe(-Errno.EBADF);
  });
});

describe('positions', () => {
  it('are exact as bigints', () => {
    const into = new Uint8Array(2);
    expect(native.pwrite(fd, Buffer.from('ab'), 0, 2, 7n)).toBe(2);
    expect(native.pread(fd, into, 0, 2, 7n)).toBe(2);
    expect(Buffer.from(into).toString()).toBe('ab');
    expect(native.pread(fd, into, 0, 2, 2n ** 53n + 1n)).toBe(0);
  });

  it.each([-1n, 2n ** 63n, 2n ** 64n, -1, 2 ** 53])('are refused when there is no %s', (position) => {
    expect(() => native.pread(fd, new Uint8Array(1), 0, 1, position)).toThrow(RangeError);
  });
});

describe('memory for DMA', () => {
  it('is mapped until it is given up', () => {
    const memfd = native.memfd('test', 8192, true);
    const memory = native.mapForDma(memfd, 4096n, 4096, 3);
    if (typeof memory === 'number') throw new Error(`errno ${-memory}`);
    const structure = new Uint8Array(8);
    native.ioctl(fd, 0x3b64, structure, memory, 0);
    expect(new DataView(structure.buffer).getBigUint64(0, true) % 4096n).toBe(0n);
    expect(native.unmapForDma(memory)).toBe(0);
    expect(native.unmapForDma(memory)).toBe(0);
    expect(() => native.ioctl(fd, 0x3b64, structure, memory, 0)).toThrow(RangeError);
    native.close(memfd);
  });

  it('is refused where there is nothing to map', () => {
    expect(native.mapForDma(-1, 0, 4096, 3)).toBe(-Errno.EBADF);
    expect(() => native.mapForDma(fd, 0, 4096, 0)).toThrow(RangeError);
    expect(() => native.unmapForDma(Object.create(null))).toThrow(TypeError);
  });
});
