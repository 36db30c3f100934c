import { describe, expect, it } from 'vitest';
import { HeldMessages } from '../../src/transport/held-messages.ts';
import { IncomingMessage } from '../../src/transport/index.ts';
import { rawMessage } from '../helpers/raw-client.ts';

const NO_REPLY = 0x10;

function incoming(
  id: number,
  payload: Uint8Array,
  options: { flags?: number; fds?: number[] } = {},
): IncomingMessage {
  const bytes = new Uint8Array(
    Buffer.concat([Buffer.from('before'), rawMessage(id, 10, payload, options.flags ?? 0)]),
  );
  const message = new IncomingMessage();
  message.point(bytes, new DataView(bytes.buffer), 6, bytes.length, options.fds ?? []);
  return message;
}

function fill(held: HeldMessages, message: () => IncomingMessage, limit = 100_000): number {
  let count = 0;
  for (; !held.full && count < limit; count += 1) held.push(message(), 16);
  return count;
}

describe('HeldMessages', () => {
  it('keeps copies of whole messages with their fds, in order', () => {
    const held = new HeldMessages();
    const first = incoming(1, Buffer.from('one'), { fds: [5] });
    held.push(first, 16);
    held.push(incoming(2, Buffer.from('two')), 16);
    first.bytes.fill(0);
    expect(first.fds).toEqual([]);
    expect(held.length).toBe(2);
    const [one, two] = [held.shift(), held.shift()];
    expect(Buffer.from(one?.bytes ?? [])).toEqual(rawMessage(1, 10, Buffer.from('one')));
    expect(one?.fds).toEqual([5]);
    expect(Buffer.from(two?.bytes ?? [])).toEqual(rawMessage(2, 10, Buffer.from('two')));
    expect(held.shift()).toBeUndefined();
  });

  it('puts a command back in its place', () => {
    const held = new HeldMessages();
    held.push(incoming(1, Buffer.alloc(0)), 16);
    held.push(incoming(2, Buffer.alloc(0)), 16);
    const first = held.shift();
    if (first !== undefined) held.unshift(first);
    expect(held.takeAll().map(({ bytes }) => bytes[0])).toEqual([1, 2]);
    expect(held.length).toBe(0);
  });

  it('knows since when somebody waits for a reply; nobody waits for posted commands', () => {
    const held = new HeldMessages();
    held.push(incoming(1, Buffer.alloc(0), { flags: NO_REPLY }), 16);
    expect(held.owedSince).toBeNull();
    const before = performance.now();
    held.push(incoming(2, Buffer.alloc(0)), 16);
    expect(held.owedSince).toBeGreaterThanOrEqual(before);
    held.takeAll();
    expect(held.owedSince).toBeNull();
  });

  it('takes it that somebody waits behind a queue that is full, even of posted commands', () => {
    const held = new HeldMessages();
    fill(held, () => incoming(1, Buffer.alloc(64 * 1024), { flags: NO_REPLY }));
    expect(held.full).toBe(true);
    expect(held.owedSince).not.toBeNull();
    held.shift();
    expect(held.owedSince).toBeNull();
  });

  it.each([
    ['bytes', () => incoming(1, Buffer.alloc(64 * 1024)), 32],
    ['commands', () => incoming(1, Buffer.alloc(0)), 16 * 1024],
    ['fds', () => incoming(1, Buffer.alloc(0), { fds: Array.from({ length: 16 }, () => 9) }), 64],
  ])('is full with too many %s, and not any more when they are taken', (_, message, count) => {
    const held = new HeldMessages();
    expect(fill(held, message)).toBe(count);
    const first = held.shift();
    held.shift();
    expect(held.full).toBe(false);
    if (first !== undefined) held.unshift(first);
    held.push(message(), 16);
    expect(held.full).toBe(true);
    held.takeAll();
    expect(held.full).toBe(false);
  });
});
