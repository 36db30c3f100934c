import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FerryError } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { EventLoopReactor, IncomingMessage, TransportError } from '../../src/transport/index.ts';
import { PendingRequests } from '../../src/transport/pending-requests.ts';
import { rawMessage } from '../helpers/raw-client.ts';

const REPLY = 1;

function replyTo(id: number, command = 9): IncomingMessage {
  const bytes = rawMessage(id, command, Buffer.alloc(0), REPLY);
  const message = new IncomingMessage();
  message.point(bytes, new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length, []);
  return message;
}

/** Requests, and what has become of each: how often it was completed, and with what. */
function build() {
  const reactor = new EventLoopReactor(loadNative());
  const requests = new PendingRequests(reactor, (command) => `command ${command}`);
  const outcomes = new Map<number, (string | 'reply')[]>();
  const add = (timeoutMs: number, then: () => void = () => {}): number => {
    const id = requests.allocateId();
    outcomes.set(id, []);
    requests.add(id, 9, timeoutMs, (_, error: FerryError | null) => {
      outcomes.get(id)?.push(error === null ? 'reply' : error.code);
      then();
    });
    return id;
  };
  return { requests, outcomes, add, of: (id: number) => outcomes.get(id) };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('PendingRequests', () => {
  it('gives each reply to the request with its id, in any order', () => {
    const { requests, add, of } = build();
    const ids = [add(100), add(100), add(100)];
    for (const id of ids.toReversed()) expect(requests.resolve(replyTo(id))).toBe(true);
    expect(ids.map(of)).toEqual([['reply'], ['reply'], ['reply']]);
    expect(requests.size).toBe(0);
  });

  it('does not know a reply that nobody asked for, or a second one', () => {
    const { requests, add } = build();
    const id = add(100);
    expect(requests.resolve(replyTo(id + 1))).toBe(false);
    expect(requests.resolve(replyTo(id))).toBe(true);
    expect(requests.resolve(replyTo(id))).toBe(false);
  });

  it('fails a request whose reply says that it answers another command', () => {
    const { requests, add, of } = build();
    const id = add(100);
    expect(requests.resolve(replyTo(id, 10))).toBe(true);
    expect(of(id)).toEqual(['ERR_FRAMING']);
  });

  it('fails each request at its own time-out, whatever the order in which they were sent', () => {
    const { add, of, requests } = build();
    const [late, early, middle] = [add(300), add(100), add(200)];
    vi.advanceTimersByTime(115);
    expect([of(early), of(middle), of(late)]).toEqual([['ERR_TIMEOUT'], [], []]);
    vi.advanceTimersByTime(100);
    expect([of(early), of(middle), of(late)]).toEqual([['ERR_TIMEOUT'], ['ERR_TIMEOUT'], []]);
    vi.advanceTimersByTime(100);
    expect(of(late)).toEqual(['ERR_TIMEOUT']);
    expect(requests.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('still times out a request that was sent while an earlier one was answered', () => {
    const { requests, add, of } = build();
    const first = add(100);
    requests.resolve(replyTo(first));
    vi.advanceTimersByTime(50);
    const second = add(100);
    vi.advanceTimersByTime(60);
    expect(of(second)).toEqual([]);
    vi.advanceTimersByTime(60);
    expect(of(second)).toEqual(['ERR_TIMEOUT']);
  });

  it('expects a late reply once, and gives its id to nobody meanwhile', () => {
    const { requests, add, of } = build();
    const id = add(10);
    vi.advanceTimersByTime(20);
    expect(of(id)).toEqual(['ERR_TIMEOUT']);
    const taken = Array.from({ length: 0xffff }, () => requests.allocateId());
    expect(taken).not.toContain(id);
    expect(requests.resolve(replyTo(id))).toBe(true);
    expect(of(id)).toEqual(['ERR_TIMEOUT']);
    expect(requests.resolve(replyTo(id))).toBe(false);
    expect(Array.from({ length: 0x10000 }, () => requests.allocateId())).toContain(id);
  });

  it('never uses the id of a request in flight for another', () => {
    const { requests, add } = build();
    const held = add(1000);
    const given = new Set(Array.from({ length: 0x20000 }, () => requests.allocateId()));
    expect(given.has(held)).toBe(false);
    expect(given.size).toBe(0xffff);
  });

  it('takes no more requests than leave ids to choose from', () => {
    const { requests } = build();
    while (!requests.full) requests.add(requests.allocateId(), 9, 1000, () => {});
    expect(requests.size).toBe(32 * 1024);
    expect(requests.allocateId()).toBeLessThan(0x10000);
    requests.failAll(new TransportError('ERR_CONNECTION_CLOSED', 'over'));
    expect(requests.full).toBe(false);
  });

  it('fails everything in flight once, also what a completion adds or fails again', () => {
    const { requests, add, of } = build();
    const over = new TransportError('ERR_CONNECTION_CLOSED', 'over');
    const ids = [add(100, () => requests.failAll(over)), add(100)];
    requests.failAll(over);
    expect(ids.map(of)).toEqual([['ERR_CONNECTION_CLOSED'], ['ERR_CONNECTION_CLOSED']]);
    vi.advanceTimersByTime(200);
    expect(ids.map(of)).toEqual([['ERR_CONNECTION_CLOSED'], ['ERR_CONNECTION_CLOSED']]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('completes a request once when the time-out of another closes the connection', () => {
    const { requests, add, of } = build();
    const over = new TransportError('ERR_CONNECTION_CLOSED', 'over');
    const ids = [add(100, () => requests.failAll(over)), add(100)];
    vi.advanceTimersByTime(150);
    expect(ids.map(of)).toEqual([['ERR_TIMEOUT'], ['ERR_CONNECTION_CLOSED']]);
  });
});
