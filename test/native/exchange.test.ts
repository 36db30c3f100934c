import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { CONTROL_LENGTH, Control } from '../../src/native/index.ts';
import { closeAll, expectNoFdLeak, native, pair, receiveText, runChild, sendText } from './support.ts';

expectNoFdLeak();

/** A socket and what serves it: it answers every message with itself. */
function echo(fd: number, length = 64) {
  const rx = new Uint8Array(64);
  const tx = new Uint8Array(64);
  const fds = new Int32Array(9);
  const control = new Int32Array(CONTROL_LENGTH);
  control.set([0, length, 0, 100_000]);
  const texts: string[] = [];
  const results: number[] = [];
  const state = { control, tx, texts, results, writable: 0, after: (): void => {} };
  const received = (result: number): void => {
    results.push(result);
    if (result > 0) {
      texts.push(Buffer.from(rx.subarray(0, result)).toString());
      tx.set(rx.subarray(0, result));
      control.set([0, result], Control.TX_START);
    }
    state.after();
  };
  const unsent = (): void => {
    state.writable += 1;
  };
  const exchange = (waitMs: number, limit: number): number =>
    native.exchange(fd, rx, tx, fds, control, received, unsent, waitMs, limit);
  return Object.assign(state, { exchange });
}

describe('exchange', () => {
  it('reports and answers what is there, and returns when nothing is', () => {
    const ends = pair();
    const { exchange, texts } = echo(ends[1], 3);
    sendText(ends[0], 'onetwo');
    expect(exchange(0, 100)).toBe(2);
    expect(texts).toEqual(['one', 'two']);
    expect(receiveText(ends[0]).text).toBe('onetwo');
    expect(exchange(0, 100)).toBe(0);
    closeAll(ends);
  });

  it('handles no more messages than the limit', () => {
    const ends = pair();
    const { exchange } = echo(ends[1], 1);
    sendText(ends[0], 'abc');
    expect(exchange(0, 2)).toBe(2);
    expect(exchange(0, 2)).toBe(1);
    closeAll(ends);
  });

  it('stays no longer than its budget, which begins with the first message', () => {
    const ends = pair();
    const state = echo(ends[1], 1);
    state.control[Control.BUDGET_US] = 50_000;
    state.after = () => void sendText(ends[0], 'again');
    sendText(ends[0], 'first');
    const start = performance.now();
    expect(state.exchange(0, 2 ** 30)).toBeGreaterThan(1);
    const took = performance.now() - start;
    expect(took).toBeGreaterThanOrEqual(49);
    expect(took).toBeLessThan(30_000);
    closeAll(ends);
  });

  it.each([
    ['for a limited time', 30],
    ['as the socket was arranged to', -1],
  ])('waits %s', (_, waitMs) => {
    const ends = pair();
    const { exchange } = echo(ends[1]);
    expect(native.setBlocking(ends[1], 30)).toBe(0);
    const start = performance.now();
    expect(exchange(waitMs, 1)).toBe(0);
    expect(performance.now() - start).toBeGreaterThanOrEqual(25);
    closeAll(ends);
  });

  it('finds what comes while it spins, sleeps or is about to', async () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      const ends = pair();
      new Worker(\`
        const { workerData } = require('node:worker_threads');
        const native = require(workerData.binary);
        const rx = new Uint8Array(64), fds = new Int32Array(1);
        for (let i = 0; i < 3000; i++) {
          native.send(workerData.fd, Buffer.from('x'), 0, 1, null, 0, 0, null);
          if (native.receive(workerData.fd, rx, 0, 64, fds, 5000) <= 0) break;
        }\`, { eval: true, workerData: { binary, fd: ends[0] } });
      native.setBlocking(ends[1], 5000);
      const control = Int32Array.of(0, 64, 50, 500, 0, 0, 0, 0, 0, 0);
      const answer = () => control.set([0, 1], 4);
      let count = 0;
      while (count < 3000) {
        count += native.exchange(ends[1], new Uint8Array(64), Buffer.from('y'), new Int32Array(1), control, answer,
          () => {}, count % 2 === 0 ? -1 : 5000, 100);
      }
      say(String(count));`;
    expect(await runChild(code)).toMatchObject({ status: 0, output: '3000\n' });
  });

  it('ends with the end of file, and with an error', () => {
    const ends = pair();
    const { exchange, results } = echo(ends[1]);
    sendText(ends[0], 'last');
    native.shutdown(ends[0]);
    expect(exchange(0, 100)).toBe(2);
    closeAll([ends[1]]);
    expect(exchange(0, 100)).toBe(1);
    expect(results).toEqual([4, 0, -Errno.EBADF]);
    closeAll([ends[0]]);
  });

  it('stops when a callback pauses it, and does not begin while paused', () => {
    const ends = pair();
    const state = echo(ends[1], 1);
    state.after = () => state.control.fill(0, Control.RX_LENGTH, Control.RX_LENGTH + 1);
    sendText(ends[0], 'ab');
    expect(state.exchange(0, 100)).toBe(1);
    expect(state.exchange(-1, 100)).toBe(0);
    closeAll(ends);
  });

  it('passes an exception on, without sending what was left', () => {
    const ends = pair();
    const state = echo(ends[1]);
    state.after = () => {
      throw new Error('broken');
    };
    sendText(ends[0], 'a');
    expect(() => state.exchange(0, 100)).toThrow('broken');
    expect(receiveText(ends[0]).result).toBe(-Errno.EAGAIN);
    closeAll(ends);
  });

  it('says when the socket does not take an answer, and goes on', () => {
    const ends = pair();
    const state = echo(ends[1]);
    const chunk = new Uint8Array(1 << 16);
    while (native.send(ends[1], chunk, 0, chunk.length, null, 0, 0, null) >= 0);
    sendText(ends[0], 'a');
    expect(state.exchange(0, 1)).toBe(1);
    expect(state.writable).toBe(1);
    expect(state.control[Control.TX_START]).toBe(0);
    closeAll(ends);
  });

  it('refuses wrong arguments', () => {
    const bytes = new Uint8Array(8);
    const fds = new Int32Array(2);
    const control = new Int32Array(CONTROL_LENGTH);
    const nop = () => {};
    const wrong = (...args: unknown[]) => Reflect.apply(native.exchange, native, args);
    expect(() => wrong(0, fds, bytes, fds, control, nop, nop, 0, 1)).toThrow(TypeError);
    expect(() => wrong(0, bytes, bytes, fds, new Int32Array(CONTROL_LENGTH - 1), nop, nop, 0, 1)).toThrow(
      RangeError,
    );
    expect(() => wrong(0, bytes, bytes, fds, control, null, nop, 0, 1)).toThrow(TypeError);
    expect(() => wrong(0, bytes, bytes, fds, control, nop, nop, 'long', 1)).toThrow(TypeError);
  });
});
