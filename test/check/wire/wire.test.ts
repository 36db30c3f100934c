import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BrokenRuleError, Exchange } from '../../../src/check/index.ts';
import { rawMessage } from '../../../src/check/wire/bytes.ts';
import { Wire } from '../../../src/check/wire/wire.ts';
import { loadNative } from '../../../src/native/index.ts';
import { openFds } from '../../helpers/open-fds.ts';

const native = loadNative();

describe('a wire', () => {
  let wire: Wire;
  let other: number;
  let exchange: Exchange;
  let before: string[];

  beforeEach(() => {
    before = openFds();
    const pair = new Int32Array(2);
    native.socketpair(pair);
    exchange = new Exchange();
    wire = new Wire({ native, fd: pair[0] ?? -1, channel: 'main', exchange, timeoutMs: 50 });
    other = pair[1] ?? -1;
  });

  afterEach(() => {
    wire.close();
    native.close(other);
    expect(openFds()).toEqual(before);
  });

  const say = (bytes: Uint8Array, fds: readonly number[] | null = null): number =>
    native.send(other, bytes, 0, bytes.length, null, 0, 0, fds);

  it('waits until what it sent was read, and not for ever', async () => {
    await wire.wasRead();
    await wire.send(Uint8Array.of(1, 2, 3));
    let read = false;
    const waiting = wire.wasRead().then(() => expect(read).toBe(true));
    setImmediate(() => {
      read = true;
      native.receive(other, new Uint8Array(8), 0, 8, new Int32Array(2), 0);
    });
    await waiting;
    await wire.send(Uint8Array.of(4));
    await wire.wasRead();
  });

  it('matches replies by id, in whatever order they come', async () => {
    say(rawMessage(4, new Uint8Array(), { id: 2, flags: 1 }));
    say(rawMessage(4, new Uint8Array(), { id: 1, flags: 1 }));
    expect((await wire.reply(1, 'x')).header.messageId).toBe(1);
    expect((await wire.reply(2, 'x')).header.messageId).toBe(2);
  });

  it('blames the other end that does not answer in time', async () => {
    await expect(wire.request(4, new Uint8Array())).rejects.toThrow('there was no answer within 50 ms');
    await expect(wire.request(4, new Uint8Array())).rejects.toBeInstanceOf(BrokenRuleError);
  });

  it('does not count time in which this process could not run', async () => {
    const reply = wire.reply(1, 'x');
    const until = performance.now() + 400;
    while (performance.now() < until);
    setTimeout(() => say(rawMessage(4, new Uint8Array(), { id: 1, flags: 1 })), 5);
    expect((await reply).header.messageId).toBe(1);
  });

  it('says how the connection ended, and what was unfinished', async () => {
    say(rawMessage(4, new Uint8Array(8), { id: 1, flags: 1 }).subarray(0, 20));
    native.shutdown(other);
    await expect(wire.reply(1, 'x')).rejects.toThrow(
      'it closed the connection instead of sending a reply to x',
    );
    expect(exchange.shown.at(-1)?.text).toContain('20 bytes of an unfinished message');
  });

  it('says that the other end sent what can be no message', async () => {
    say(rawMessage(4, new Uint8Array(), { size: 3 }));
    await expect(wire.reply(1, 'x')).rejects.toThrow('it sent a header that says 3 bytes');
  });

  it('closes descriptors that nobody took', async () => {
    const fd = native.eventfd(0);
    say(rawMessage(4, new Uint8Array(), { id: 1, flags: 1 }), [fd, fd]);
    native.close(fd);
    expect((await wire.reply(1, 'x')).fds).toHaveLength(2);
  });

  it('shows what was sent and came back, decoded and in hex', async () => {
    say(rawMessage(4, new Uint8Array(), { id: 1, flags: 0x21, error: 22 }));
    await wire.request(4, new Uint8Array());
    expect(exchange.shown.map(({ kind, text, bytes }) => [kind, text.slice(0, 24), bytes])).toEqual([
      ['sent', 'DEVICE_GET_INFO request ', 16],
      ['received', 'DEVICE_GET_INFO reply 1:', 16],
    ]);
    expect(exchange.shown[1]?.hex).toBe('01000400100000002100000016000000');
  });

  it('gives up on an end that stops reading', async () => {
    await expect(wire.send(new Uint8Array(8 * 1024 * 1024))).rejects.toThrow('it stopped reading');
  });
});
