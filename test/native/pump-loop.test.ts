import { describe, expect, it } from 'vitest';
import { closeAll, expectNoFdLeak, native, pair, pump, runChild, sendText, until } from './support.ts';

expectNoFdLeak();

describe('sharing the loop', () => {
  it('runs timers, immediates and other pumps while a flood lasts', async () => {
    const [flood, other] = [pair(), pair()];
    const echo = () => sendText(flood[0], 'again');
    let received = 0;
    const { handle } = pump(flood[1], {
      onReceive: () => {
        received++;
        echo();
      },
    });
    const second = pump(other[1], { onReceive: () => sendText(other[0], 'again') });
    echo();
    sendText(other[0], 'first');
    // Without a budget the first of these would never come.
    for (let turns = 0; turns < 10 || received <= 100 || second.results.length <= 10; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    native.pumpClose(handle);
    native.pumpClose(second.handle);
    closeAll([...flood, ...other]);
  });

  it('spends no longer than its budget on one wake-up', async () => {
    const ends = pair();
    const stays: number[] = [];
    let entered = 0;
    const { handle } = pump(ends[1], {
      budgetUs: 2000,
      spinUs: 100,
      onReceive: () => {
        const now = performance.now();
        if (entered === 0) {
          entered = now;
          setImmediate(() => {
            stays.push(performance.now() - entered);
            entered = 0;
          });
        }
        sendText(ends[0], 'again');
      },
    });
    sendText(ends[0], 'first');
    await until(() => stays.length >= 20);
    // A busy machine makes most stays longer, and the few shorter in which it interrupts the first receive.
    stays.sort((a, b) => a - b);
    expect(stays[0]).toBeLessThan(4);
    expect(stays[10]).toBeGreaterThan(1.5);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('runs promise jobs and ticks after each callback, before the next', async () => {
    const ends = pair();
    const order: string[] = [];
    const { handle } = pump(ends[1], {
      length: 1,
      onReceive: () => {
        order.push('callback');
        Promise.resolve().then(() => order.push('job'));
        process.nextTick(() => order.push('tick'));
      },
    });
    sendText(ends[0], 'ab');
    await until(() => order.length === 6);
    expect(order).toEqual(['callback', 'tick', 'job', 'callback', 'tick', 'job']);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('does not spin while an immediate waits', async () => {
    const ends = pair();
    let waited = Number.POSITIVE_INFINITY;
    const { handle } = pump(ends[1], {
      spinUs: 60_000_000,
      budgetUs: 120_000_000,
      onReceive: () => {
        const start = performance.now();
        setImmediate(() => {
          waited = performance.now() - start;
        });
      },
    });
    sendText(ends[0], 'a');
    await until(() => waited < Number.POSITIVE_INFINITY);
    expect(waited).toBeLessThan(30_000);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('keeps the process alive unless unreferenced', async () => {
    const code = `const ends = pair(); const handle = pump(ends[1], () => {});
      native.setReferenced(handle, false); native.setReferenced(handle, true); native.setReferenced(handle, false);
      process.on('exit', () => say('left'));`;
    expect(await runChild(code)).toEqual({ status: 0, signal: null, output: 'left\n' });
  });
});

describe('spinning', () => {
  it('waits for the next message within its budget before anything else gets a turn', async () => {
    // The peer sends its second message 20 ms after the first was handled; a timer of 1 ms has to wait for it.
    const code = `
      const { Worker } = require('node:worker_threads');
      const ends = pair();
      const handled = new Int32Array(new SharedArrayBuffer(4));
      new Worker(\`
        const { binary, fd, handled } = require('node:worker_threads').workerData;
        const native = require(binary);
        native.send(fd, new Uint8Array(1), 0, 1, null, 0, 0, null);
        Atomics.wait(handled, 0, 0);
        Atomics.wait(handled, 0, 1, 20);
        native.send(fd, new Uint8Array(1), 0, 1, null, 0, 0, null);
      \`, { eval: true, workerData: { binary, fd: ends[0], handled } });
      const order = [];
      const handle = pump(ends[1], () => {
        order.push('message');
        if (order.length > 1) return native.pumpClose(handle);
        setTimeout(() => { order.push('timer'); say(order.join()); }, 1);
        Atomics.store(handled, 0, 1);
        Atomics.notify(handled, 0);
      }, [0, 64, 2_000_000, 3_000_000]);`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: 'message,message,timer\n' });
  });

  it('rests for longer and longer while it does not pay', async () => {
    // 200 messages, each 3 ms after the last was handled: 400 ms of spinning if there were no rest.
    const code = `
      const ends = pair();
      let count = 0;
      const before = process.cpuUsage();
      const handle = pump(ends[1], () => {
        if (++count < 200) return void setTimeout(() => sendText(ends[0], 'x'), 3);
        const { user, system } = process.cpuUsage(before);
        say(String(user + system < 250_000));
        native.pumpClose(handle);
      }, [0, 64, 2000, 5000]);
      sendText(ends[0], 'x');`;
    expect(await runChild(code)).toEqual({ status: 0, signal: null, output: 'true\n' });
  });
});

describe('exceptions', () => {
  it('surface as uncaughtException, and the next message is delivered all the same', async () => {
    const code = `
      process.on('uncaughtException', (error) => say('caught ' + error.message));
      const ends = pair();
      let count = 0;
      const handle = pump(ends[1], () => {
        count++;
        if (count === 3) return native.pumpClose(handle);
        Promise.resolve().then(() => say('job ' + count));
        throw new Error('no ' + count);
      }, [0, 1, 20, 500]);
      sendText(ends[0], 'abc');`;
    expect((await runChild(code)).output.split('\n').filter((line) => line.startsWith('caught'))).toEqual([
      'caught no 1',
      'caught no 2',
    ]);
  });

  it('end the process when nobody catches them', async () => {
    const code = `
      process.stderr.write = () => true;
      const ends = pair();
      pump(ends[1], () => { throw new Error('fatal'); });
      process.on('exit', (status) => say('exit ' + status));
      sendText(ends[0], 'abc');`;
    expect(await runChild(`require('node:fs').closeSync(2); ${code}`)).toMatchObject({
      status: 1,
      output: 'exit 1\n',
    });
  });

  it('from a job or a tick of the callback surface too', async () => {
    const code = `
      process.on('uncaughtException', (error) => say('caught ' + error.message));
      const ends = pair();
      const handle = pump(ends[1], () => {
        process.nextTick(() => { throw new Error('tick'); });
        Promise.resolve().then(() => { throw new Error('job'); });
        native.pumpClose(handle);
      });
      sendText(ends[0], 'abc');`;
    expect((await runChild(code)).output).toBe('caught tick\ncaught job\n');
  });
});
