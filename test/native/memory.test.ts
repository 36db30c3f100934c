import { constants } from 'node:buffer';
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check } from '../../src/native/index.ts';
import { closeAll, expectNoFdLeak, mappingsOf, native, runChild, withDirectory } from './support.ts';

const PAGE = 4096;
const READ = 1;
const WRITE = 2;
const BOTH = READ | WRITE;

expectNoFdLeak();

/** A memfd of `pages` pages and one mapping of all of it. */
function mapped(name: string, pages = 4) {
  const fd = check(native.memfd(name, pages * PAGE, true), 'memfd');
  return { fd, buffer: check(native.map(fd, 0, pages * PAGE, BOTH), 'map') };
}

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

const transfer: unknown = Reflect.get(ArrayBuffer.prototype, 'transfer');

describe.skipIf(typeof transfer !== 'function')(
  'a mapping moved by ArrayBuffer.prototype.transfer (Node 22)',
  () => {
    const move = (buffer: ArrayBuffer): ArrayBuffer => {
      if (typeof transfer !== 'function') throw new Error('this runtime has no transfer');
      const moved: unknown = transfer.call(buffer);
      if (!(moved instanceof ArrayBuffer)) throw new Error('no ArrayBuffer');
      return moved;
    };

    it('loses the file but keeps its addresses when unmapped', () => {
      const { fd, buffer } = mapped('ferry-moved');
      new Uint8Array(buffer)[0] = 1;
      const moved = new Uint8Array(move(buffer));
      expect(moved[0]).toBe(1);
      expect(native.unmap(buffer)).toBe(0);
      expect(mappingsOf('ferry-moved')).toHaveLength(0);
      expect(moved[0]).toBe(0);
      moved.fill(2);
      expect(native.unmap(buffer)).toBe(0);
      expect(moved[PAGE]).toBe(2);
      const bytes = new Uint8Array(1);
      native.pread(fd, bytes, 0, 1, 0);
      expect(bytes[0]).toBe(1);
      closeAll([fd]);
    });

    it('leaves no mapping behind once it is collected', async () => {
      const { output } = await runChild(
        `
      const size = 2 ** 30;
      const reserved = () => 1024 * /VmSize:\\s*(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1];
      const fd = native.memfd('ferry-moved', size, true);
      const before = reserved();
      const left = () => reserved() - before > size / 2;
      (() => {
        const buffer = native.map(fd, 0, size, 3);
        const moved = buffer.transfer();
        native.unmap(buffer);
        new Uint8Array(moved)[0] = 1;
        say('replaced ' + left());
      })();
      (async () => {
        for (let i = 0; left() && i < 1000; i++) { gc(); await new Promise((done) => setTimeout(done, 1)); }
        say('collected ' + left());
      })();`,
        { flags: ['--expose-gc'] },
      );
      expect(output).toBe('replaced true\ncollected false\n');
    });

    it('survives the end of the worker that mapped it, on another thread', async () => {
      const { status, output } = await runChild(`
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(${JSON.stringify(`
        const { parentPort } = require('node:worker_threads');
        const native = require(process.env.BINARY);
        const fd = native.memfd('ferry-posted', 65536, true);
        const moved = native.map(fd, 0, 65536, 3).transfer();
        parentPort.postMessage(moved, [moved]);
      `)}, { eval: true, env: { BINARY: binary } });
      let bytes;
      worker.on('message', (moved) => { bytes = new Uint8Array(moved); });
      worker.on('exit', () => { bytes.fill(3); say('alive ' + bytes[65535]); });`);
      expect({ status, output }).toEqual({ status: 0, output: 'alive 3\n' });
    });
  },
);

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

describe('a file that shrinks under its mapping', () => {
  const shrink = `
    const fd = native.memfd('ferry-shrunk', 4 * 4096, false);
    const bytes = new Uint8Array(native.map(fd, 0, 4 * 4096, 3));
    bytes.fill(5);
    fs.ftruncateSync(fd, 4096);
  `;

  it('ends the process when nobody guards it', async () => {
    expect(await runChild(`${shrink} bytes[3 * 4096]; say('alive');`)).toEqual({
      status: null,
      signal: 'SIGBUS',
      output: '',
    });
  });

  it('reads and takes zeros where it is guarded, keeps what is left, and counts the pages', async () => {
    const code = `
      native.guardMappings();
      ${shrink}
      say([bytes[0], bytes[4096], bytes[3 * 4096 + 9]].join());
      bytes[4096] = 7;
      say([bytes[4096], bytes[2 * 4096], native.guardedFaults(), native.guardMappings()].join());
      say(String(native.unmap(bytes.buffer)));
      native.guardMappings();`;
    expect(await runChild(code)).toEqual({ status: 0, signal: null, output: '5,0,0\n7,0,3,0\n0\n' });
  });

  it('is guarded in optimised code, on any thread, and for mappings made before the guard', async () => {
    const code = `
      ${shrink}
      native.guardMappings();
      const { Worker } = require('node:worker_threads');
      const sum = (bytes) => { let sum = 0; for (let i = 0; i < bytes.length; i++) sum += bytes[i]; return sum; };
      const live = new Uint8Array(bytes.length);
      for (let i = 0; i < 200; i++) sum(live);
      const worker = new Worker(\`
        const native = require(process.env.BINARY);
        const bytes = new Uint8Array(native.map(\${fd}, 0, 4 * 4096, 3));
        let sum = 0; for (let i = 0; i < bytes.length; i++) sum += bytes[i];
        require('node:worker_threads').parentPort.postMessage(sum);\`,
        { eval: true, env: { BINARY: binary } });
      worker.on('message', (there) => say([there, sum(bytes), native.guardedFaults()].join()));`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: `${5 * PAGE},${5 * PAGE},6\n` });
  });

  it('is EFAULT to a system call', async () => {
    const code = `${shrink} native.guardMappings(); const ends = pair();
      say(String(native.send(ends[0], bytes, 4096, 64, null, 0, 0, null)));`;
    expect((await runChild(code)).output).toBe(`${-Errno.EFAULT}\n`);
  });

  it('can not shrink once sealed', () => {
    const { fd, buffer } = mapped('ferry-sealed');
    expect(() => ftruncateSync(fd, 0)).toThrow('EPERM');
    native.unmap(buffer);
    closeAll([fd]);
  });
});

describe('the guard and other handlers of SIGBUS', () => {
  it('leaves a SIGBUS that somebody sends to its default', async () => {
    const code = `native.guardMappings(); process.kill(process.pid, 'SIGBUS'); setTimeout(() => say('alive'), 1000);`;
    expect(await runChild(code)).toMatchObject({ signal: 'SIGBUS', output: '' });
  });

  it('passes on a fault of another mapping to a handler before it that knows it', async () => {
    // A second copy of the addon is a library of its own, with a handler and a table of its own.
    const code = `
      const copy = fs.mkdtempSync(require('node:os').tmpdir() + '/ferry-native-') + '/ferry.node';
      fs.copyFileSync(binary, copy);
      const second = require(copy);
      fs.rmSync(require('node:path').dirname(copy), { recursive: true });
      native.guardMappings();
      second.guardMappings();
      const fd = native.memfd('ferry-chained', 4096, false);
      const bytes = new Uint8Array(native.map(fd, 0, 4096, 3));
      fs.ftruncateSync(fd, 0);
      say([bytes[0], native.guardedFaults(), second.guardedFaults()].join());`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: '0,1,0\n' });
  });

  it('passes on what is not its own to the handler before it', async () => {
    const code = `
      const timer = setTimeout(() => {}, 10_000);
      process.on('SIGBUS', () => { say('passed on'); clearTimeout(timer); });
      native.guardMappings();
      process.kill(process.pid, 'SIGBUS');`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: 'passed on\n' });
  });
});
