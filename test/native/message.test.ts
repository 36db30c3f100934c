import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check } from '../../src/native/index.ts';
import {
  closeAll,
  expectNoFdLeak,
  fdFlags,
  native,
  O_CLOEXEC,
  openFds,
  pair,
  receiveText,
  runChild,
  sendText,
} from './support.ts';

expectNoFdLeak();

describe('send and receive', () => {
  it('sends head and body as one message and receives into the middle of a buffer', () => {
    const ends = pair();
    const body = Buffer.from('..body..');
    expect(native.send(ends[0], Buffer.from('-head-'), 1, 4, body, 2, 4, null)).toBe(8);
    const into = Buffer.alloc(16, '.');
    const fds = new Int32Array(1).fill(7);
    expect(native.receive(ends[1], into, 4, 12, fds, 0)).toBe(8);
    expect(into.toString()).toBe('....headbody....');
    expect(fds[0]).toBe(0);
    closeAll(ends);
  });

  it('sends from and receives into small arrays, which V8 keeps in its own heap at first', () => {
    const ends = pair();
    const into = new Uint8Array(8);
    native.send(ends[0], Uint8Array.of(1, 2, 3), 0, 3, Uint8Array.of(4), 0, 1, null);
    expect(native.receive(ends[1], into, 2, 6, new Int32Array(1), 0)).toBe(4);
    expect([...into]).toEqual([0, 0, 1, 2, 3, 4, 0, 0]);
    closeAll(ends);
  });

  it('reads part of what is there and leaves the rest', () => {
    const ends = pair();
    sendText(ends[0], 'abcdef');
    expect(receiveText(ends[1], 4).text).toBe('abcd');
    expect(receiveText(ends[1], 4).text).toBe('ef');
    expect(receiveText(ends[1], 4).result).toBe(-Errno.EAGAIN);
    closeAll(ends);
  });

  it('takes what fits when the send buffer is nearly full, then says EAGAIN, and goes on when there is room', () => {
    const ends = pair();
    const chunk = new Uint8Array(1 << 16);
    let sent = 0;
    let last = 0;
    for (; last >= 0; sent += Math.max(last, 0)) {
      last = native.send(ends[0], chunk, 0, 16, chunk, 16, chunk.length - 16, null);
    }
    expect(last).toBe(-Errno.EAGAIN);
    let received = 0;
    const into = new Uint8Array(1 << 20);
    while (received < sent) {
      received += check(native.receive(ends[1], into, 0, into.length, new Int32Array(1), 0), 'receive');
    }
    expect(received).toBe(sent);
    expect(sendText(ends[0], 'again')).toBe(5);
    closeAll(ends);
  });

  it('takes a part of a message that is larger than the send buffer', () => {
    const ends = pair();
    check(native.setSendBuffer(ends[0], 1 << 16), 'setSendBuffer');
    const large = new Uint8Array(1 << 20);
    const sent = native.send(ends[0], large, 0, 16, large, 16, large.length - 16, null);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(large.length);
    closeAll(ends);
  });

  it('reports how large a send buffer the kernel granted', () => {
    const ends = pair();
    const granted = check(native.setSendBuffer(ends[0], 1 << 17), 'setSendBuffer');
    expect(granted).toBe(1 << 17);
    expect(native.setSendBuffer(-1, 4096)).toBe(-Errno.EBADF);
    closeAll(ends);
  });

  it('refuses what is outside of the arrays, and wrong types', () => {
    const ends = pair();
    const bytes = new Uint8Array(8);
    const fds = new Int32Array(1);
    const wrong = (...args: unknown[]) => Reflect.apply(native.receive, native, args);
    expect(() => native.receive(ends[0], bytes, 4, 5, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(ends[0], bytes, 9, 0, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(ends[0], bytes, -1, 4, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(ends[0], bytes, 0.5, 4, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(ends[0], bytes, Number.NaN, 4, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(ends[0], bytes, 0, 0, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(2 ** 40, bytes, 0, 8, fds, 0)).toThrow(RangeError);
    expect(() => native.receive(ends[0], bytes, 0, 8, new Int32Array(0), 0)).toThrow(RangeError);
    expect(() => wrong(ends[0], new Int32Array(8), 0, 8, fds, 0)).toThrow(TypeError);
    expect(() => wrong(ends[0], bytes, 0, 8, bytes, 0)).toThrow(TypeError);
    expect(() => wrong(ends[0], 'bytes', 0, 8, fds, 0)).toThrow(TypeError);
    expect(() => wrong('0', bytes, 0, 8, fds, 0)).toThrow(TypeError);
    expect(() => wrong()).toThrow(TypeError);
    expect(() => native.send(ends[0], bytes, 0, 9, null, 0, 0, null)).toThrow(RangeError);
    expect(() => native.send(ends[0], bytes, 0, 8, bytes, 8, 1, null)).toThrow(RangeError);
    expect(() => native.send(ends[0], bytes, 0, 8, null, 0, 0, [0.5])).toThrow(RangeError);
    closeAll(ends);
  });

  it('reports a detached array as having no room', () => {
    const ends = pair();
    const bytes = new Uint8Array(64);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(() => native.receive(ends[0], bytes, 0, 64, new Int32Array(1), 0)).toThrow(RangeError);
    closeAll(ends);
  });
});

describe('file descriptors in messages', () => {
  it('carries fds both ways, as new ones for the same file', () => {
    const ends = pair();
    const event = native.eventfd(0);
    for (const [from, to] of [ends, [...ends].reverse()] as [number, number][]) {
      expect(sendText(from, 'fds', [event, event])).toBe(3);
      const { text, fds } = receiveText(to);
      expect(text).toBe('fds');
      expect(fds).toHaveLength(2);
      for (const fd of fds) native.eventfdSignal(fd, 3);
      expect(native.eventfdRead(event)).toBe(6);
      closeAll(fds);
    }
    closeAll([...ends, event]);
  });

  it('sends a body together with fds', () => {
    const ends = pair();
    native.send(ends[0], Buffer.from('head'), 0, 4, Buffer.from('body'), 0, 4, [ends[0]]);
    const { text, fds } = receiveText(ends[1]);
    expect(text).toBe('headbody');
    expect(fds).toHaveLength(1);
    closeAll([...ends, ...fds]);
  });

  it('receives them with the first byte of their message, even when it reads only a part', () => {
    const ends = pair();
    sendText(ends[0], 'abcd', [ends[0]]);
    const first = receiveText(ends[1], 2);
    expect(first).toMatchObject({ result: 2, text: 'ab' });
    expect(first.fds).toHaveLength(1);
    expect(receiveText(ends[1], 2)).toEqual({ result: 2, text: 'cd', fds: [] });
    closeAll([...ends, ...first.fds]);
  });

  it('ends a receive after the message that carries fds, so they belong to the last that begins in it', () => {
    const ends = pair();
    sendText(ends[0], 'one.');
    sendText(ends[0], 'two.', [ends[0]]);
    sendText(ends[0], 'three.');
    const first = receiveText(ends[1]);
    expect(first.text).toBe('one.two.');
    expect(first.fds).toHaveLength(1);
    expect(receiveText(ends[1])).toMatchObject({ text: 'three.', fds: [] });
    closeAll([...ends, ...first.fds]);
  });

  it('sets CLOEXEC on what it receives', () => {
    const ends = pair();
    sendText(ends[0], 'x', [ends[0]]);
    const { fds } = receiveText(ends[1]);
    expect(fdFlags(fds[0] ?? -1) & O_CLOEXEC).toBe(O_CLOEXEC);
    closeAll([...ends, ...fds]);
  });

  it('takes 253 at once, the most that a message can carry', () => {
    const ends = pair();
    expect(sendText(ends[0], 'x', Array(253).fill(ends[0]))).toBe(1);
    const { result, fds } = receiveText(ends[1], 16, 253);
    expect(result).toBe(1);
    expect(fds).toHaveLength(253);
    expect(sendText(ends[0], 'x', Array(254).fill(ends[0]))).toBe(-Errno.EINVAL);
    expect(sendText(ends[0], 'x', Array(1_000_000).fill(ends[0]))).toBe(-Errno.EINVAL);
    closeAll([...ends, ...fds]);
  });

  it('closes all of them and says EMSGSIZE when more came than there is room for', () => {
    const ends = pair();
    sendText(ends[0], 'x', [0, 1, 2]);
    const before = openFds();
    expect(receiveText(ends[1], 16, 2)).toMatchObject({ result: -Errno.EMSGSIZE, fds: [] });
    expect(openFds()).toBe(before);
    closeAll(ends);
  });

  it('closes what nobody received when the socket closes', () => {
    const ends = pair();
    const event = native.eventfd(0);
    sendText(ends[0], 'x', [event]);
    closeAll([...ends, event]);
  });

  it('refuses to send what is no descriptor', () => {
    const ends = pair();
    expect(sendText(ends[0], 'x', [9999])).toBe(-Errno.EBADF);
    expect(receiveText(ends[1]).result).toBe(-Errno.EAGAIN);
    closeAll(ends);
  });
});

describe('a peer that is gone', () => {
  it('is end of file to a receiver and EPIPE to a sender, without SIGPIPE', () => {
    const ends = pair();
    sendText(ends[0], 'last');
    closeAll([ends[0]]);
    expect(receiveText(ends[1]).text).toBe('last');
    expect(receiveText(ends[1]).result).toBe(0);
    expect(sendText(ends[1], 'x')).toBe(-Errno.EPIPE);
    expect(sendText(ends[1], 'x', [ends[1]])).toBe(-Errno.EPIPE);
    closeAll([ends[1]]);
  });

  it('raises no SIGPIPE, also where the process would notice', async () => {
    const code = `
      process.on('SIGPIPE', () => say('signal'));
      const ends = pair();
      native.close(ends[0]);
      const body = new Uint8Array(1);
      const sent = [sendText(ends[1], 'x'), native.send(ends[1], body, 0, 1, body, 0, 1, null)];
      setTimeout(() => say(sent.join()), 20);`;
    expect((await runChild(code)).output).toBe(`${-Errno.EPIPE},${-Errno.EPIPE}\n`);
  });

  it('is ECONNRESET when it left data unread', () => {
    const ends = pair();
    sendText(ends[1], 'unread');
    closeAll([ends[0]]);
    expect(receiveText(ends[1]).result).toBe(-Errno.ECONNRESET);
    closeAll([ends[1]]);
  });

  it('is what shutdown makes of both ends', () => {
    const ends = pair();
    expect(native.shutdown(ends[0])).toBe(0);
    expect(receiveText(ends[0]).result).toBe(0);
    expect(receiveText(ends[1]).result).toBe(0);
    closeAll(ends);
    expect(native.shutdown(-1)).toBe(-Errno.EBADF);
  });

  it('is for one direction what half a shutdown makes of it', () => {
    const ends = pair();
    expect(native.shutdownHalf(ends[0], 1)).toBe(0);
    expect(receiveText(ends[1]).result).toBe(0);
    sendText(ends[1], 'still');
    expect(receiveText(ends[0]).text).toBe('still');
    expect(native.shutdownHalf(ends[0], 0)).toBe(0);
    expect(sendText(ends[1], 'refused')).toBe(-Errno.EPIPE);
    closeAll(ends);
    expect(native.shutdownHalf(-1, 1)).toBe(-Errno.EBADF);
  });
});
