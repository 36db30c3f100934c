import { describe, expect, it } from 'vitest';
import { closeAll, expectNoFdLeak, mapped, mappingsOf, native, PAGE, runChild } from './support.ts';

expectNoFdLeak();

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
