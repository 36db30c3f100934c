import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { runChild } from './support.ts';

/** Code for a child: workers that have the same prelude as the child itself. */
const workers = (body: string) => `
  const { Worker } = require('node:worker_threads');
  const body = ${JSON.stringify(`
    const { parentPort, workerData } = require('node:worker_threads');
    const native = require(workerData.binary);
    const pair = () => { const out = new Int32Array(2); native.socketpair(out); return out; };
    const sendText = (fd, text) => native.send(fd, Buffer.from(text), 0, text.length, null, 0, 0, null);
    const pump = (fd, onReceive) => native.pumpStart(
      fd, new Uint8Array(4096), new Uint8Array(8), new Int32Array(9), Int32Array.of(0, 4096, 20, 500, 0, 0, 0, 0, 0, 0),
      onReceive, () => {});
    ${body}
  `)};
  const start = () => new Worker(body, { eval: true, workerData: { binary } });
  const fds = () => fs.readdirSync('/proc/self/fd').length;
`;

const echoForever = `
  const ends = pair();
  pump(ends[1], () => sendText(ends[0], 'again'));
  sendText(ends[0], 'first');
  native.watchStart(native.eventfd(1), () => {});
  native.map(native.memfd('ferry-worker', 1 << 20, true), 0, 1 << 20, 3);
`;

describe('several environments', () => {
  it('works on the main thread and on workers at the same time', async () => {
    const code = `${workers(`
        const ends = pair();
        let count = 0;
        const handle = pump(ends[1], () => {
          if (++count === 500) { native.pumpClose(handle); parentPort.postMessage(count); } else sendText(ends[0], 'x');
        });
        sendText(ends[0], 'x');`)}
      const ends = pair();
      let left = 4, count = 0;
      const handle = pump(ends[1], () => { count++; if (left > 0) sendText(ends[0], 'x'); else native.pumpClose(handle); });
      sendText(ends[0], 'x');
      for (let i = 0; i < 4; i++) start().on('message', (n) => say('worker ' + n)).on('exit', () => {
        left--;
        if (left === 0) say('main ' + (count > 0));
      });`;
    const { status, output } = await runChild(code);
    expect(status).toBe(0);
    expect(output).toBe(`${'worker 500\n'.repeat(4)}main true\n`);
  });

  it('survives terminate() in the middle of pumps, watches and mappings, again and again', async () => {
    const code = `${workers(`${echoForever} parentPort.postMessage('running');`)}
      const again = (left) => {
        if (left === 0) return say('done ' + fs.readFileSync('/proc/self/maps', 'utf8').includes('ferry-worker'));
        const worker = start();
        worker.on('message', () => setTimeout(() => worker.terminate().then(() => again(left - 1)), left % 3));
      };
      again(10);`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: 'done false\n' });
  });

  it('survives workers that end by themselves with everything open', async () => {
    const code = `${workers(`${echoForever} setTimeout(() => process.exit(3), 5);`)}
      let left = 5;
      for (let i = 0; i < 5; i++) start().on('exit', (status) => { if (--left === 0) say('exit ' + status); });`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: 'exit 3\n' });
  });

  it('survives terminate() during a blocking receive loop made of slices', async () => {
    const code = `${workers(`
        const ends = pair();
        native.setBlocking(ends[0], 20);
        const tick = () => 0;
        parentPort.postMessage('waiting');
        for (;;) { native.receive(ends[0], new Uint8Array(8), 0, 8, new Int32Array(1), -1); tick(); }`)}
      const worker = start();
      worker.on('message', () => worker.terminate().then((status) => say('terminated ' + status)));`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: 'terminated 1\n' });
  });

  it('is used by a worker only, before and after the main thread loads it', async () => {
    const code = `${workers(`native.guardMappings(); native.map(native.memfd('x', 4096, true), 0, 4096, 3);`)}
      start().on('exit', () => start().on('exit', () => {
        native.guardMappings();
        const fd = native.memfd('y', 8192, false);
        const bytes = new Uint8Array(native.map(fd, 0, 8192, 3));
        fs.ftruncateSync(fd, 0);
        say('read ' + bytes[4096]);
      }));`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: 'read 0\n' });
  });
});

describe('the end of the process', () => {
  it.each([
    ['process.exit() inside a callback', `pump(ends[1], () => process.exit(4)); sendText(ends[0], 'x');`, 4],
    [
      'process.exit() from a timer during a flood',
      `pump(ends[1], () => sendText(ends[0], 'x')); sendText(ends[0], 'x'); setTimeout(() => process.exit(5), 10);`,
      5,
    ],
    ['the natural end with unreferenced pumps', `native.setReferenced(pump(ends[1], () => {}), false);`, 0],
    ['an end with mappings', `native.map(native.memfd('x', 4096, true), 0, 4096, 3);`, 0],
  ])('comes without a crash: %s', async (_, code, status) => {
    expect(await runChild(`const ends = pair(); ${code}`)).toMatchObject({ status, signal: null });
  });
});

describe('a process at its limit of descriptors', () => {
  const full = `
    const ends = pair();
    const filler = [];
    for (let fd = native.dup(0); fd >= 0; fd = native.dup(0)) filler.push(fd);
    const send = (fds) => native.send(ends[0], Buffer.from('x'), 0, 1, null, 0, 0, fds);
    const rx = new Uint8Array(8), fds = new Int32Array(9);
  `;

  it('closes what it got of truncated control data and says EMSGSIZE', async () => {
    const code = `${full}
      send([0, 0, 0]);
      native.close(filler.pop());
      say([native.receive(ends[1], rx, 0, 8, fds, 0), fds[0]].join());
      say([native.dup(0) >= 0, native.dup(0)].join());
      send([0]);
      say([native.receive(ends[1], rx, 0, 8, fds, 0), fds[0]].join());
      native.close(filler.pop());
      send([0]);
      say([native.receive(ends[1], rx, 0, 8, fds, 0), fds[0]].join());`;
    const { output } = await runChild(code, { shell: 'ulimit -n 40' });
    expect(output).toBe(`${-Errno.EMSGSIZE},0\ntrue,${-Errno.EMFILE}\n${-Errno.EMSGSIZE},0\n1,1\n`);
  });

  it('says EMFILE where it would need another one', async () => {
    const code = `${full}
      say([native.eventfd(0), native.memfd('x', 0, false), native.socketpair(new Int32Array(2)),
        native.accept(ends[0]), native.connect('/nowhere')].join());`;
    const { output } = await runChild(code, { shell: 'ulimit -n 40' });
    expect(output).toBe(`${Array(5).fill(-Errno.EMFILE).join()}\n`);
  });
});
