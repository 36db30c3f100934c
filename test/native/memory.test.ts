import { constants } from 'node:buffer';
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check } from '../../src/native/index.ts';
import {
  closeAll,
  expectNoFdLeak,
  mapped,
  mappingsOf,
  native,
  PAGE,
  runChild,
  withDirectory,
} from './support.ts';

expectNoFdLeak();

const READ = 1;
const BOTH = 3;

describe('map and unmap', () => {
  it('shares memory with the file and with other mappings of it', () => {
    const { fd, buffer } = mapped('ferry-share');
    const second = check(native.map(fd, PAGE, PAGE, READ), 'map');
    new Uint8Array(buffer).set([1, 2, 3], PAGE);
    expect([...new Uint8Array(second, 0, 3)]).toEqual([1, 2, 3]);
    const bytes = new Uint8Array(5);
    expect(native.pread(fd, bytes, 1, 3, PAGE)).toBe(3);
    expect([...bytes]).toEqual([0, 1, 2, 3, 0]);
    expect(native.pwrite(fd, Uint8Array.of(9, 8, 7), 1, 2, PAGE + 1)).toBe(2);
    expect([...new Uint8Array(second, 0, 3)]).toEqual([1, 8, 7]);
    expect([native.unmap(buffer), native.unmap(second)]).toEqual([0, 0]);
    closeAll([fd]);
  });

  it('takes the memory away at once and for good', () => {
    const { fd, buffer } = mapped('ferry-unmap');
    const view = new Uint8Array(buffer);
    view[0] = 1;
    expect(mappingsOf('ferry-unmap')).toHaveLength(1);
    expect(native.unmap(buffer)).toBe(0);
    expect(mappingsOf('ferry-unmap')).toHaveLength(0);
    expect([buffer.byteLength, view.length, view[0]]).toEqual([0, 0, undefined]);
    closeAll([fd]);
  });

  it('may be repeated, and leaves alone what lives at the same address since', () => {
    const first = mapped('ferry-first');
    native.unmap(first.buffer);
    const second = mapped('ferry-second');
    expect(native.unmap(first.buffer)).toBe(0);
    expect(mappingsOf('ferry-second')).toHaveLength(1);
    native.unmap(second.buffer);
    closeAll([first.fd, second.fd]);
  });

  it('refuses buffers that it did not make', () => {
    expect(native.unmap(new ArrayBuffer(8))).toBe(-Errno.EINVAL);
    expect(() => Reflect.apply(native.unmap, native, [new Uint8Array(8)])).toThrow(TypeError);
  });

  it('passes on what mmap refuses', () => {
    const { fd, buffer } = mapped('ferry-refused');
    expect(native.map(fd, 1, PAGE, BOTH)).toBe(-Errno.EINVAL);
    expect(native.map(fd, 0, 0, BOTH)).toBe(-Errno.EINVAL);
    expect(native.map(-1, 0, PAGE, BOTH)).toBe(-Errno.EBADF);
    expect(native.map(fd, 0, 2 ** 50, BOTH)).toBe(-Errno.ENOMEM);
    expect(() => native.map(fd, -PAGE, PAGE, BOTH)).toThrow(RangeError);
    expect(() => native.map(fd, 0, PAGE, 0)).toThrow(RangeError);
    expect(() => native.map(fd, 0, PAGE, 4)).toThrow(RangeError);
    native.unmap(buffer);
    closeAll([fd]);
  });

  it('refuses a mapping larger than the largest Buffer, and leaves nothing mapped', () => {
    const size = constants.MAX_LENGTH + PAGE;
    if (size > 2 ** 46) return;
    const fd = check(native.memfd('ferry-large', size, false), 'memfd');
    expect(native.map(fd, 0, size, READ)).toBe(-Errno.EFBIG);
    expect(mappingsOf('ferry-large')).toHaveLength(0);
    closeAll([fd]);
  });

  it('maps beyond 2^32 in the file', () => {
    const fd = check(native.memfd('ferry-far', 2 ** 40, false), 'memfd');
    const buffer = check(native.map(fd, 2 ** 40 - PAGE, PAGE, BOTH), 'map');
    new Uint8Array(buffer)[7] = 7;
    const bytes = new Uint8Array(1);
    expect(native.pread(fd, bytes, 0, 1, 2 ** 40 - PAGE + 7)).toBe(1);
    expect(bytes[0]).toBe(7);
    native.unmap(buffer);
    closeAll([fd]);
  });

  it('stays where it is when structuredClone or postMessage try to transfer it', () => {
    const { fd, buffer } = mapped('ferry-clone');
    try {
      structuredClone(buffer, { transfer: [buffer] }); // Node 20 copies, later ones throw.
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' });
    }
    expect(buffer.byteLength).toBe(4 * PAGE);
    native.unmap(buffer);
    closeAll([fd]);
  });

  it('unmaps what was dropped without unmap', async () => {
    const { output } = await runChild(
      `
      const fd = native.memfd('ferry-dropped', 65536, true);
      let buffer = native.map(fd, 0, 65536, 3);
      const mapped = () => fs.readFileSync('/proc/self/maps', 'utf8').includes('ferry-dropped');
      say('before ' + mapped());
      buffer = null;
      (async () => {
        for (let i = 0; mapped() && i < 1000; i++) { gc(); await new Promise((done) => setTimeout(done, 1)); }
        say('after ' + mapped());
      })();`,
      { flags: ['--expose-gc'] },
    );
    expect(output).toBe('before true\nafter false\n');
  });

  it('may be unmapped first and collected afterwards', async () => {
    const { status, output } = await runChild(
      `
      (async () => {
        for (let i = 0; i < 200; i++) {
          const fd = native.memfd('ferry-churn', 65536, true);
          const buffer = native.map(fd, 0, 65536, 3);
          native.unmap(buffer);
          native.close(fd);
          if (i % 20 === 0) { gc(); await new Promise(setImmediate); }
        }
        say('done');
      })();`,
      { flags: ['--expose-gc'] },
    );
    expect({ status, output }).toEqual({ status: 0, output: 'done\n' });
  });
});

describe('memfd', () => {
  it('has the size and the name it was given, and the seal if asked', () => {
    const [plain, sealed] = [native.memfd('plain', PAGE, false), native.memfd('sealed', PAGE, true)];
    expect(() => ftruncateSync(sealed, 0)).toThrow('EPERM');
    ftruncateSync(sealed, 2 * PAGE);
    expect(native.sealShrink(plain)).toBe(0);
    expect(() => ftruncateSync(plain, 0)).toThrow('EPERM');
    closeAll([plain, sealed]);
  });

  it('refuses to seal what is no memfd, sizes out of range and names that are too long', () => {
    withDirectory((directory) => {
      const file = openSync(join(directory, 'file'), 'w+');
      expect(native.sealShrink(file)).toBe(-Errno.EINVAL);
      closeSync(file);
    });
    expect(() => native.memfd('x', -1, false)).toThrow(RangeError);
    expect(native.memfd('x'.repeat(250), 0, false)).toBe(-Errno.EINVAL);
    closeAll([check(native.memfd('x'.repeat(249), 0, false), 'memfd')]);
  });
});

describe('pread and pwrite', () => {
  let fd = -1;
  beforeAll(() => {
    fd = native.memfd('ferry-file', 0, false);
  });
  afterAll(() => closeAll([fd]));

  it('reach positions beyond 2^32', () => {
    const far = 2 ** 41 + 1;
    expect(native.pwrite(fd, Buffer.from('far'), 0, 3, far)).toBe(3);
    const bytes = new Uint8Array(8);
    expect(native.pread(fd, bytes, 2, 6, far)).toBe(3);
    expect(Buffer.from(bytes.subarray(2, 5)).toString()).toBe('far');
  });

  it('check their bounds', () => {
    const bytes = new Uint8Array(8);
    expect(() => native.pread(fd, bytes, 4, 5, 0)).toThrow(RangeError);
    expect(() => native.pwrite(fd, bytes, 4, 5, 0)).toThrow(RangeError);
    expect(() => native.pread(fd, bytes, 0, 8, -1)).toThrow(RangeError);
    expect(() => native.pread(fd, bytes, 0, 8, 2 ** 53)).toThrow(RangeError);
    expect(native.pread(-1, bytes, 0, 8, 0)).toBe(-Errno.EBADF);
  });
});
