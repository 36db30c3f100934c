import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { CONTROL_LENGTH, Control } from '../../src/native/index.ts';
import {
  closeAll,
  expectNoFdLeak,
  native,
  openFds,
  pair,
  pump,
  receiveText,
  sendText,
  turns,
  until,
} from './support.ts';

expectNoFdLeak();

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

describe('answering', () => {
  /** A pump that answers everything with "answer", from the fourth byte of its buffer. */
  function answering(fd: number, onWritable?: () => void) {
    const state = pump(fd, {
      tx: Buffer.from('...answer...'),
      onReceive: () => state.control.set([3, 9], Control.TX_START),
      ...(onWritable === undefined ? {} : { onWritable }),
    });
    return state;
  }

  it('sends what a callback has left, once', async () => {
    const ends = pair();
    const { handle, control } = answering(ends[1]);
    sendText(ends[0], 'a');
    await turns();
    expect(receiveText(ends[0]).text).toBe('answer');
    expect(control[Control.TX_START]).toBe(9);
    control[Control.RX_LENGTH] = 0;
    native.pumpArm(handle, true, false);
    await turns();
    expect(receiveText(ends[0]).result).toBe(-Errno.EAGAIN);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('sends it after promise jobs, which may have sent it themselves', async () => {
    const ends = pair();
    const { handle, control } = pump(ends[1], {
      tx: Buffer.from('first second'),
      onReceive: () => {
        control.set([0, 6], Control.TX_START);
        queueMicrotask(() => {
          sendText(ends[1], 'job ');
          control[Control.TX_START] = 6;
          control[Control.TX_END] = 12;
        });
      },
    });
    sendText(ends[0], 'a');
    await turns();
    expect(receiveText(ends[0]).text).toBe('job second');
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('says when the socket does not take all of it, and how much it took', async () => {
    const ends = pair();
    const tx = new Uint8Array(1 << 20);
    let writable = 0;
    const { handle, control } = pump(ends[1], {
      tx,
      onReceive: () => control.set([0, tx.length], Control.TX_START),
      onWritable: () => writable++,
    });
    sendText(ends[0], 'a');
    await until(() => writable === 1);
    const taken = control[Control.TX_START] ?? 0;
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(tx.length);
    let received = 0;
    for (let count = 1; count > 0; received += Math.max(count, 0))
      count = receiveText(ends[0], 1 << 20).result;
    expect(received).toBe(taken);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('sends nothing from outside of its buffer, and leaves it to the callback to learn why', async () => {
    const ends = pair();
    const bounds = [
      [-1, 4],
      [0, 13],
    ];
    let writable = 0;
    const { handle, control } = pump(ends[1], {
      tx: Buffer.from('...answer...'),
      onReceive: () => control.set(bounds.pop() ?? [], Control.TX_START),
      onWritable: () => writable++,
    });
    sendText(ends[0], 'a');
    await until(() => writable === 1);
    sendText(ends[0], 'b');
    await until(() => writable === 2);
    expect(receiveText(ends[0]).result).toBe(-Errno.EAGAIN);
    native.pumpClose(handle);
    closeAll(ends);
  });

  it('sends nothing after it was closed in the callback', async () => {
    const ends = pair();
    const { handle, control } = pump(ends[1], {
      tx: Buffer.from('answer'),
      onReceive: () => {
        control.set([0, 6], Control.TX_START);
        native.pumpClose(handle);
      },
    });
    sendText(ends[0], 'a');
    await turns();
    expect(receiveText(ends[0]).result).toBe(-Errno.EAGAIN);
    closeAll(ends);
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
        rx,
        fds,
        new Int32Array(CONTROL_LENGTH),
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
    expect(() => native.pumpStart(0, rx, rx, fds, new Int32Array(CONTROL_LENGTH - 1), nop, nop)).toThrow(
      RangeError,
    );
    const wrong = (...args: unknown[]) => Reflect.apply(native.pumpStart, native, args);
    const control = new Int32Array(CONTROL_LENGTH);
    expect(() => wrong(0, fds, rx, fds, control, nop, nop)).toThrow(TypeError);
    expect(() => wrong(0, rx, fds, fds, control, nop, nop)).toThrow(TypeError);
    expect(() => wrong(0, rx, rx, fds, control, 'call', nop)).toThrow(TypeError);
    for (const act of [native.pumpArm, native.pumpClose, native.watchClose, native.setReferenced]) {
      expect(() => Reflect.apply(act, native, [{}, true, true])).toThrow(TypeError);
    }
  });
});
