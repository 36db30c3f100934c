import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check, type PumpHandle } from '../../src/native/index.ts';
import {
  closeAll,
  expectNoFdLeak,
  native,
  openFds,
  pair,
  receiveText,
  runChild,
  sendText,
  until,
} from './support.ts';

expectNoFdLeak();

interface Options {
  readonly length?: number;
  readonly spinUs?: number;
  readonly budgetUs?: number;
  readonly onReceive?: (result: number) => void;
  readonly onWritable?: () => void;
}

/** A pump that records what it receives. */
function pump(
  fd: number,
  { length = 4096, spinUs = 0, budgetUs = 500, onReceive, onWritable }: Options = {},
) {
  const rx = new Uint8Array(4096);
  const fds = new Int32Array(9);
  const control = Int32Array.of(0, length, spinUs, budgetUs);
  const results: number[] = [];
  const texts: string[] = [];
  const received: number[] = [];
  const record = (result: number) => {
    const offset = control[0] ?? 0;
    results.push(result);
    if (result > 0) texts.push(Buffer.from(rx.subarray(offset, offset + result)).toString());
    received.push(...fds.subarray(1, 1 + (fds[0] ?? 0)));
    onReceive?.(result);
  };
  const handle = check<PumpHandle>(
    native.pumpStart(fd, rx, fds, control, record, () => onWritable?.()),
    'pumpStart',
  );
  return { handle, rx, control, results, texts, received };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const turns = async (count = 5) => {
  for (let i = 0; i < count; i++) await turn();
};

describe('receiving', () => {
  it('delivers bytes and fds, each result with what came with it', async () => {
    const ends = pair();
    const { handle, texts, received } = pump(ends[1]);
    sendText(ends[0], 'one', [ends[0], ends[0]]);
    sendText(ends[0], 'two');
    await until(() => texts.length === 2);
    expect(texts).toEqual(['one', 'two']);
    expect(received).toHaveLength(2);
    native.pumpClose(handle);
    closeAll([...ends, ...received]);
  });

  it('receives where and as much as the callback says', async () => {
    const ends = pair();
    const state = pump(ends[1], {
      length: 2,
      onReceive: () => {
        state.control[0] = 100;
        state.control[1] = 3;
      },
    });
    sendText(ends[0], 'abcdefgh');
    await until(() => state.results.length === 3);
    expect(state.results).toEqual([2, 3, 3]);
    expect(Buffer.from(state.rx.subarray(0, 2)).toString()).toBe('ab');
    expect(Buffer.from(state.rx.subarray(100, 103)).toString()).toBe('fgh');
    native.pumpClose(state.handle);
    closeAll(ends);
  });

  it('never reports EAGAIN', async () => {
    const ends = pair();
    const { handle, results } = pump(ends[1], { spinUs: 20 });
    sendText(ends[0], 'abc');
    await turns();
    expect(results).toEqual([3]);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('reports the end of file once and stops, but still says when it can be written to', async () => {
    const ends = pair();
    let writable = 0;
    const { handle, results } = pump(ends[1], {
      onWritable: () => {
        writable++;
        native.pumpArm(handle, true, false);
      },
    });
    sendText(ends[0], 'last');
    native.shutdown(ends[0]);
    await until(() => results.length === 2);
    native.pumpArm(handle, true, true);
    await until(() => writable === 1);
    await turns();
    expect(results).toEqual([4, 0]);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('delivers what came before a peer vanished, then the error, and nothing after it', async () => {
    const ends = pair();
    sendText(ends[1], 'never read');
    sendText(ends[0], 'last words');
    closeAll([ends[0]]);
    const { handle, results, texts } = pump(ends[1]);
    await until(() => results.length === 2);
    await turns();
    expect(texts).toEqual(['last words']);
    expect(results).toEqual([10, -Errno.ECONNRESET]);
    native.pumpClose(handle);
    closeAll([ends[1]]);
  });

  it('reports more fds than there is room for, with all of them closed', async () => {
    const ends = pair();
    sendText(ends[0], 'x', Array(9).fill(ends[0]));
    const before = openFds();
    const { handle, results, received } = pump(ends[1]);
    await until(() => results.length === 1);
    expect(results).toEqual([-Errno.EMSGSIZE]);
    expect(received).toEqual([]);
    expect(openFds()).toBe(before);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it.each([
    [4000, 97],
    [-1, 8],
    [0, -1],
  ])(
    'reports EINVAL instead of writing outside of its buffer (offset %i, length %i)',
    async (offset, length) => {
      const ends = pair();
      const { handle, control, results } = pump(ends[1]);
      control.set([offset, length]);
      sendText(ends[0], 'abc');
      await until(() => results.length === 1);
      expect(results).toEqual([-Errno.EINVAL]);
      native.pumpClose(handle);
      closeAll(ends);
    },
  );
});

describe('pausing', () => {
  it('leaves data in the socket while the length is 0, and goes on when armed', async () => {
    const ends = pair();
    const { handle, control, texts } = pump(ends[1], { length: 3, onReceive: () => control.fill(0, 1, 2) });
    sendText(ends[0], 'onetwo');
    await until(() => texts.length === 1);
    await turns();
    expect(texts).toEqual(['one']);
    control[1] = 3;
    expect(native.pumpArm(handle, true, false)).toBe(0);
    await until(() => texts.length === 2);
    expect(texts).toEqual(['one', 'two']);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('does not call back while disarmed', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1]);
    native.pumpArm(handle, false, false);
    sendText(ends[0], 'abc');
    await turns();
    expect(texts).toEqual([]);
    native.pumpArm(handle, true, false);
    await until(() => texts.length === 1);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('lets the loop sleep while paused with data waiting', async () => {
    const ends = pair();
    const { handle, control } = pump(ends[1], { length: 1, onReceive: () => control.fill(0, 1, 2) });
    sendText(ends[0], 'ab');
    await turns();
    const before = performance.eventLoopUtilization();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(performance.eventLoopUtilization(before).idle).toBeGreaterThan(50);
    native.pumpClose(handle);
    closeAll(ends);
  });
});

describe('writing', () => {
  it('says when a full socket can be written to again, as long as it is asked', async () => {
    const ends = pair();
    const chunk = new Uint8Array(1 << 16);
    while (native.send(ends[0], chunk, 0, chunk.length, null, 0, 0, null) >= 0);
    let writable = 0;
    const { handle } = pump(ends[0], { onWritable: () => writable++ });
    native.pumpArm(handle, true, true);
    await turns();
    expect(writable).toBe(0);
    while (receiveText(ends[1], 1 << 16).result > 0);
    await until(() => writable > 2);
    native.pumpArm(handle, true, false);
    const before = writable;
    await turns();
    expect(writable).toBe(before);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('says so too when the peer vanished, so that the next send reports it', async () => {
    const ends = pair();
    const chunk = new Uint8Array(1 << 16);
    while (native.send(ends[0], chunk, 0, chunk.length, null, 0, 0, null) >= 0);
    const sent: number[] = [];
    const { handle } = pump(ends[0], {
      onWritable: () => {
        sent.push(sendText(ends[0], 'x'));
        native.pumpClose(handle);
      },
    });
    native.pumpArm(handle, false, true);
    closeAll([ends[1]]);
    await until(() => sent.length === 1);
    expect(sent).toEqual([-Errno.EPIPE]);
    closeAll([ends[0]]);
  });
});

describe('closing', () => {
  it('is final inside the receive callback, although more data waits', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1], { length: 1, onReceive: () => native.pumpClose(handle) });
    sendText(ends[0], 'abc');
    await turns();
    expect(texts).toEqual(['a']);
    closeAll(ends);
  });

  it('is final inside the writable callback, although data waits', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1], { onWritable: () => native.pumpClose(handle) });
    sendText(ends[0], 'abc');
    native.pumpArm(handle, true, true);
    await turns();
    expect(texts).toEqual([]);
    closeAll(ends);
  });

  it('may come with the fd closed in the same callback, and the number used anew', async () => {
    const ends = pair();
    let reused = -1;
    const { handle, texts } = pump(ends[1], {
      length: 1,
      onReceive: () => {
        native.pumpClose(handle);
        closeAll([ends[1]]);
        reused = native.eventfd(1);
      },
    });
    sendText(ends[0], 'abc');
    await turns();
    expect(reused).toBe(ends[1]);
    expect(texts).toEqual(['a']);
    expect(native.eventfdRead(reused)).toBe(1);
    closeAll([ends[0], reused]);
  });

  it('may be repeated, and leaves arming without effect', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1]);
    native.pumpClose(handle);
    native.pumpClose(handle);
    expect(native.pumpArm(handle, true, true)).toBe(0);
    sendText(ends[0], 'abc');
    await turns();
    native.pumpClose(handle);
    native.setReferenced(handle, false);
    expect(texts).toEqual([]);
    closeAll(ends);
  });

  it('inside a callback lets go of the callbacks', async () => {
    const code = `
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      const once = () => {
        const ends = pair();
        const onReceive = () => { native.pumpClose(handle); ends.forEach((fd) => native.close(fd)); };
        registry.register(onReceive);
        const handle = native.pumpStart(ends[1], new Uint8Array(8), new Int32Array(1), Int32Array.of(0, 8, 0, 500),
          onReceive, () => {});
        sendText(ends[0], 'x');
      };
      for (let i = 0; i < 10; i++) once();
      (async () => {
        for (let i = 0; collected < 9 && i < 500; i++) { await new Promise((done) => setTimeout(done, 1)); gc(); }
        say(String(collected >= 9));
      })();`;
    expect(await runChild(code, { flags: ['--expose-gc'] })).toMatchObject({ status: 0, output: 'true\n' });
  });

  it('lets another pump take over the socket at once', async () => {
    const ends = pair();
    const first = pump(ends[1]);
    native.pumpClose(first.handle);
    const second = pump(ends[1]);
    sendText(ends[0], 'abc');
    await until(() => second.texts.length === 1);
    expect(first.texts).toEqual([]);
    native.pumpClose(second.handle);
    closeAll(ends);
  });

  it('of one pump inside the callback of another is safe', async () => {
    const [a, b] = [pair(), pair()];
    const other = pump(a[1]);
    const { handle } = pump(b[1], { onReceive: () => native.pumpClose(other.handle) });
    sendText(b[0], 'x');
    sendText(a[0], 'x');
    await turns();
    native.pumpClose(handle);
    closeAll([...a, ...b]);
  });
});

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
    let turns = 0;
    // Without a budget the first of these would never come.
    for (const end = performance.now() + 100; performance.now() < end; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(received).toBeGreaterThan(100);
    expect(second.results.length).toBeGreaterThan(10);
    expect(turns).toBeGreaterThan(3);
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
      spinUs: 500_000,
      budgetUs: 1_000_000,
      onReceive: () => {
        const start = performance.now();
        setImmediate(() => {
          waited = performance.now() - start;
        });
      },
    });
    sendText(ends[0], 'a');
    await until(() => waited < Number.POSITIVE_INFINITY);
    expect(waited).toBeLessThan(250);
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

describe('starting', () => {
  it('reports what the loop can not watch', () => {
    const ends = pair();
    const { handle } = pump(ends[0]);
    const rx = new Uint8Array(8);
    const fds = new Int32Array(2);
    const start = (fd: number) =>
      native.pumpStart(
        fd,
        rx,
        fds,
        Int32Array.of(0, 8, 0, 0),
        () => {},
        () => {},
      );
    expect(start(ends[0])).toBe(-Errno.EEXIST);
    expect(start(-1)).toBe(-Errno.EBADF);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('refuses wrong arguments', () => {
    const rx = new Uint8Array(8);
    const fds = new Int32Array(2);
    const nop = () => {};
    expect(() => native.pumpStart(0, rx, fds, new Int32Array(3), nop, nop)).toThrow(RangeError);
    const wrong = (...args: unknown[]) => Reflect.apply(native.pumpStart, native, args);
    expect(() => wrong(0, fds, fds, fds, nop, nop)).toThrow(TypeError);
    expect(() => wrong(0, rx, fds, new Int32Array(4), 'call', nop)).toThrow(TypeError);
    for (const act of [native.pumpArm, native.pumpClose, native.watchClose, native.setReferenced]) {
      expect(() => Reflect.apply(act, native, [{}, true, true])).toThrow(TypeError);
    }
  });
});
