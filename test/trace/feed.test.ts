import { describe, expect, it } from 'vitest';
import { type TraceEvent, TraceFeed, toNanoseconds } from '../../src/trace/index.ts';
import { whole } from './support.ts';

/** A feed whose jobs the test runs; each tells whether it was wanted soon. */
function feed() {
  const events: TraceEvent[] = [];
  const planned: boolean[] = [];
  const jobs: (() => void)[] = [];
  const made = new TraceFeed({
    emit: (event) => events.push(event),
    factsOf: (fd) => ({ kind: 'memfd', size: BigInt(fd), identity: 0n }),
    later: (job, soon) => {
      planned.push(soon);
      jobs.push(job);
    },
  });
  const run = (): void => {
    for (const job of jobs.splice(0)) job();
  };
  return { feed: made, events, planned, run };
}

const connection = { number: 1, role: 'main' as const };

describe('a feed', () => {
  it('makes events of what passes, later, in the order of time', () => {
    const { feed: made, events, planned, run } = feed();
    const tap = made.open(connection, 99);
    const message = whole(13, false, Buffer.alloc(0));
    const borrowed = Buffer.concat([message, message.subarray(0, 5)]);
    tap.passed('client', borrowed, [7], 1000.5);
    borrowed.fill(0xff);
    tap.passed('client', message.subarray(5), [8], 1001);
    tap.passed('server', Buffer.from('junk'), [], 1002);
    tap.ended('server', { kind: 'lost', errno: 104 }, 1003);
    expect(events).toEqual([]);
    expect(planned).toEqual([false]);
    run();
    expect(events.map((event) => [event.kind, 'from' in event ? event.from : event.pid])).toEqual([
      ['opened', 99],
      ['message', 'client'],
      ['message', 'client'],
      ['bytes', 'server'],
      ['ended', 'server'],
    ]);
    expect(events[1]).toMatchObject({ time: toNanoseconds(1000.5), fds: [] });
    expect(events[2]).toMatchObject({ time: toNanoseconds(1001), fds: [{ size: 7n }, { size: 8n }] });
    for (const event of events)
      if (event.kind === 'message') expect(Buffer.from(event.bytes)).toEqual(message);
  });

  it('asks to be looked at soon when a lot has passed', () => {
    const { feed: made, events, planned, run } = feed();
    const tap = made.open(connection, 0);
    const message = whole(10, false, Buffer.alloc(100_000, 7));
    for (let i = 0; i < 12; i += 1) tap.passed('client', message, [], 1);
    expect(planned).toEqual([false, true]);
    run();
    expect(events).toHaveLength(13);
    for (let i = 0; i < 1024; i += 1) tap.passed('client', whole(13, false, Buffer.alloc(0)), [], 1);
    expect(planned).toEqual([false, true, false, true]);
  });
});
