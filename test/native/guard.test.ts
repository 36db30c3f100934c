import { ftruncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { closeAll, expectNoFdLeak, mapped, native, PAGE, runChild } from './support.ts';

expectNoFdLeak();

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
