import { describe, expect, it } from 'vitest';
import type { FdFacts } from '../../../src/relay/index.ts';
import {
  decodeMessage,
  type FieldNode,
  recordingStart,
  renderDissector,
  type TraceEvent,
} from '../../../src/trace/index.ts';
import { FIXED_SIZE } from '../../../src/trace/recording/index.ts';
import { ourLines, tsharkLines } from '../compare-decoders.ts';
import { everySort, examples, messageEvent, recordEvent, whole } from '../support.ts';
import { askTshark, NO_TSHARK } from '../tshark.ts';

/** Some of each sort; and some of those damaged: cut short, longer than declared, with bytes changed. */
function samples(): readonly Buffer[] {
  const good = everySort().flatMap((sort, i) => examples(sort, 6, i + 1));
  const damaged = good.flatMap((bytes, i) => {
    const cut = bytes.subarray(0, 16 + ((i * 7) % Math.max(1, bytes.length - 16)));
    const longer = Buffer.concat([bytes, Buffer.from('abc')]);
    const changed = Buffer.from(bytes);
    if (changed.length > 16) changed[16 + ((i * 13) % (changed.length - 16))] = (i * 31) & 0xff;
    const failed = Buffer.from(bytes);
    failed.writeUInt32LE(0x21, 8);
    failed.writeUInt32LE(22, 12);
    return [cut, longer, changed, failed];
  });
  return [...good, ...damaged, whole(99, false, Buffer.from('what')), Buffer.alloc(16)];
}

const start = () => recordingStart('ferry test', { main: 'a', control: 'b' });

function recorded(events: readonly TraceEvent[]): Buffer {
  return Buffer.concat([...start(), ...events.flatMap((event) => recordEvent(event))]);
}

describe.skipIf(NO_TSHARK !== null)(
  `tshark with our dissector${NO_TSHARK === null ? '' : ` (${NO_TSHARK})`}`,
  () => {
    it('finds every field of every message where our own decoder does, with the same bytes and names', () => {
      const messages = samples();
      const answers = askTshark(recorded(messages.map((bytes) => messageEvent('client', bytes))));
      expect(answers).toHaveLength(messages.length);
      const keys = new Set<string>();
      messages.forEach((bytes, i) => {
        const ours = ourLines(bytes);
        for (const [key] of ours) keys.add(key);
        expect(tsharkLines(answers[i] ?? [], FIXED_SIZE), bytes.toString('hex')).toEqual(ours);
      });
      // Each field that Wireshark is told of was there, but those of the record, and what belongs to several frames.
      const declared = [...renderDissector().matchAll(/^F\["(vfio_user\.[^"]*)"\]/gm)].map(
        ([, key = '']) => key,
      );
      const others = /\.(?:record|response_to|response_in|latency|continuation|bytes)\b|^vfio_user\.bytes$/;
      expect(declared.filter((key) => !keys.has(key) && !others.test(key))).toEqual([]);
    });

    it('shows the descriptors, pairs replies with requests, and joins nothing that is apart', () => {
      const fds: readonly FdFacts[] = [
        { kind: 'memfd', size: 4096n, identity: 77n },
        { kind: 'eventfd', size: 0n, identity: 0n },
      ];
      const request = whole(13, false, Buffer.alloc(0), 5);
      const reply = whole(13, true, Buffer.alloc(0), 5);
      const long = whole(18, false, Buffer.alloc(500_000, 1));
      const connection = { number: 3, role: 'control' as const };
      const end = { kind: 'lost' as const, errno: 104 };
      const events: readonly TraceEvent[] = [
        { kind: 'opened', connection, time: 1n, pid: 42 },
        messageEvent('client', request, { time: 1_000n, fds }),
        messageEvent('client', request, { time: 2_000n, number: 2 }),
        messageEvent('server', reply, { time: 43_500n }),
        messageEvent('client', long, { time: 50_000n }),
        {
          kind: 'bytes',
          connection,
          time: 1n,
          from: 'server',
          bytes: Buffer.from('oh'),
          wireSize: 2,
          fds: [],
        },
        { kind: 'ended', connection, time: 1n, from: 'server', end },
      ];
      const answers = askTshark(recorded(events));
      const show = (i: number, key: string): readonly string[] =>
        (answers[i] ?? []).filter((field) => field.key === `vfio_user.${key}`).map((field) => field.show);
      expect(answers).toHaveLength(9);
      expect([show(0, 'record.kind'), show(0, 'record.detail')]).toEqual([['3'], ['42']]);
      expect(show(1, 'record.fd.kind')).toEqual(['1', '3']);
      expect(show(1, 'record.fd.size')).toEqual(['4096', '0']);
      expect(show(1, 'record.fd.identity')).toEqual(['77', '0']);
      expect(show(1, 'response_in')).toEqual(['4']);
      expect(show(2, 'response_in')).toEqual([]);
      expect(show(3, 'response_to')).toEqual(['2']);
      expect(show(3, 'latency')).toEqual(['0.000042500']);
      expect(show(4, 'mig_data_write.request.size')).toHaveLength(1);
      const rest = [5, 6]
        .flatMap((i) => answers[i] ?? [])
        .filter(({ key }) => key === 'vfio_user.continuation');
      expect(rest.map(({ size }) => size)).toEqual([192 * 1024, 500_016 - 2 * 192 * 1024]);
      expect(show(7, 'bytes')).toEqual(['6f:68']);
      expect([show(8, 'record.kind'), show(8, 'record.detail')]).toEqual([['5'], ['104']]);
    });
  },
);

it('has a field for every key that our decoder uses', () => {
  const text = renderDissector();
  const missing = new Set<string>();
  const look = (node: FieldNode): void => {
    for (const { key } of [node, ...node.parts])
      if (!text.includes(`F["${key}"] = ProtoField`)) missing.add(key);
    node.children.forEach(look);
  };
  for (const sort of everySort()) {
    for (const bytes of examples(sort, 3)) decodeMessage(bytes).fields.forEach(look);
  }
  expect([...missing]).toEqual([]);
});
