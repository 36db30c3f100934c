import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Histogram } from '../../src/trace/histogram.ts';
import { Conversation, TraceSummary } from '../../src/trace/index.ts';
import { messageEvent, whole } from './support.ts';

it('percentiles are right to an eighth, and never above the longest', () => {
  const durations = fc.array(fc.bigInt(0n, 10n ** 12n), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(durations, fc.double({ min: 0.01, max: 1, noNaN: true }), (all, share) => {
      const histogram = new Histogram();
      for (const one of all) histogram.add(one);
      const sorted = all.toSorted((a, b) => (a < b ? -1 : 1));
      const exact = sorted[Math.ceil(all.length * share) - 1] ?? 0n;
      const got = histogram.percentile(share);
      expect(got).toBeGreaterThanOrEqual(exact);
      expect(Number(got)).toBeLessThanOrEqual(Number(exact) * 1.126 + 1);
      expect(got).toBeLessThanOrEqual(histogram.max);
    }),
  );
});

describe('figures', () => {
  it('count what passed, by command, and remember the slowest', () => {
    const summary = new TraceSummary();
    const conversation = new Conversation();
    const connection = { number: 1, role: 'main' as const };
    summary.see({ kind: 'opened', connection, time: 0n, pid: 1 });
    const say = (from: 'client' | 'server', bytes: Buffer, time: bigint): void => {
      const event = messageEvent(from, bytes, { time });
      summary.see(event);
      summary.tell(conversation.tell(event));
    };
    for (let i = 1; i <= 10; i += 1) {
      const at = BigInt(i) * 1_000_000n;
      say('client', whole(13, false, Buffer.alloc(0), i), at);
      const reply = whole(13, true, Buffer.alloc(0), i);
      if (i === 3) reply.writeUInt32LE(0x21, 8);
      if (i === 3) reply.writeUInt32LE(16, 12);
      say('server', reply, at + BigInt(i) * 1_000n);
    }
    say('client', whole(2, false, Buffer.alloc(4)), 20_000_000n);
    summary.see({
      kind: 'ended',
      connection,
      time: 30_000_000n,
      from: 'client',
      end: { kind: 'end of stream' },
    });
    const figures = summary.figures();
    expect(figures).toMatchObject({
      messages: 21,
      bytes: { client: 180, server: 160 },
      errors: 1,
      problems: 1,
      connections: { opened: 1, open: 1 },
      duration: 30_000_000n,
      errnos: [['EBUSY', 1]],
    });
    expect(
      figures.commands.map(({ name, requests, errors, bytes, max }) => [name, requests, errors, bytes, max]),
    ).toEqual([
      ['DEVICE_RESET', 10, 1, 320, 10_000n],
      ['DMA_MAP', 1, 0, 20, null],
    ]);
    expect(figures.slowest.map(({ latency }) => latency)).toEqual([10_000n, 9_000n, 8_000n, 7_000n, 6_000n]);
  });

  it('do not grow with commands that do not exist', () => {
    const summary = new TraceSummary();
    const conversation = new Conversation();
    for (let command = 100; command < 2000; command += 1) {
      summary.tell(conversation.tell(messageEvent('client', whole(command, false, Buffer.alloc(0)))));
    }
    const { commands } = summary.figures();
    expect(commands.length).toBeLessThanOrEqual(65);
    expect(commands.find(({ name }) => name === 'others')?.requests).toBe(1900 - 64);
  });
});
