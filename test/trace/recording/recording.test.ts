import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FD_KINDS, type FdFacts } from '../../../src/relay/index.ts';
import { RecordingReader, recordingStart, TraceError, type TraceEvent } from '../../../src/trace/index.ts';
import { everySort, examples, recordEvent } from '../support.ts';

const facts: fc.Arbitrary<FdFacts> = fc.record({
  kind: fc.constantFrom(...FD_KINDS),
  size: fc.bigInt(0n, (1n << 64n) - 1n),
  identity: fc.bigInt(0n, (1n << 64n) - 1n),
});
const common = {
  connection: fc.record({
    number: fc.nat(0xffff_ffff),
    role: fc.constantFrom('main' as const, 'control' as const),
  }),
  time: fc.bigInt(0n, 1n << 63n),
};
const from = fc.constantFrom('client' as const, 'server' as const);
const errno = fc.nat(4095);
const fds = fc.array(facts, { maxLength: 5 });
const size = fc.oneof({ weight: 20, arbitrary: fc.nat(300) }, { weight: 1, arbitrary: fc.nat(700_000) });

const event: fc.Arbitrary<TraceEvent> = fc.oneof(
  fc.record({ ...common, kind: fc.constant('opened' as const), pid: fc.nat(4_000_000) }),
  size.chain((length) => {
    const bytes = Buffer.alloc(16 + length, length);
    const content = { from, fds, bytes: fc.constant(bytes), wireSize: fc.constant(bytes.length) };
    return fc.record({ ...common, kind: fc.constantFrom('message' as const, 'bytes' as const), ...content });
  }),
  fc.record({
    ...common,
    kind: fc.constant('ended' as const),
    from,
    end: fc.oneof(
      fc.constant({ kind: 'end of stream' as const }),
      fc.record({ kind: fc.constantFrom('lost' as const, 'refused' as const), errno }),
    ),
  }),
);

const start = () => recordingStart('ferry test', { main: 'a.sock', control: 'a.sock.control' });

function file(events: readonly TraceEvent[]): Buffer {
  return Buffer.concat([...start(), ...events.flatMap((one) => recordEvent(one))]);
}

function readAll(pieces: Iterable<Uint8Array>): { events: TraceEvent[]; left: number } {
  const reader = new RecordingReader();
  const events = [...pieces].flatMap((piece) => reader.push(piece));
  return { events, left: reader.end() };
}

const plain = (events: readonly TraceEvent[]): unknown =>
  events.map((one) => ('bytes' in one ? { ...one, bytes: Buffer.from(one.bytes).toString('hex') } : one));

describe('a recording', () => {
  it('gives back what was recorded, also in small pieces', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), fc.integer({ min: 1, max: 5000 }), (events, least) => {
        const bytes = file(events);
        // Of long files the pieces are longer: each is added to the rest of those before it.
        const step = Math.max(least, Math.ceil(bytes.length / 500));
        const pieces = Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) =>
          bytes.subarray(i * step, (i + 1) * step),
        );
        const got = readAll(pieces);
        expect(plain(got.events)).toEqual(plain(events));
        expect(got.left).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  it('that was cut anywhere gives what is whole', () => {
    const messages: TraceEvent[] = everySort()
      .slice(0, 6)
      .map((sort, i) => {
        const [bytes = Buffer.alloc(0)] = examples(sort, 1);
        const connection = { number: 1, role: 'main' as const };
        return {
          kind: 'message',
          connection,
          time: BigInt(i),
          from: 'client',
          bytes,
          wireSize: bytes.length,
          fds: [],
        };
      });
    const bytes = file(messages);
    for (let length = start()[0]?.length ?? 0; length <= bytes.length; length += 1) {
      const { events, left } = readAll([bytes.subarray(0, length)]);
      expect(plain(events)).toEqual(plain(messages.slice(0, events.length)));
      expect(left > 0 || events.length <= messages.length).toBe(true);
    }
  });

  it('whose bytes were changed is read or refused, never more', () => {
    const mutation = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 4 }),
        fc.array(mutation, { minLength: 1, maxLength: 8 }),
        (events, mutations) => {
          const bytes = file(events);
          for (const [at, value] of mutations) bytes[at % bytes.length] = value;
          try {
            readAll([bytes]);
          } catch (error) {
            expect(error).toBeInstanceOf(TraceError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['an empty file', Buffer.alloc(0), 'empty'],
    ['another kind of file', Buffer.from('#!/bin/sh\nexit 0\n'), 'no pcapng file'],
    ['a block of 4 GiB', patch(file([]), 4, 0xffff_fffc), 'a block says that it has 4294967292 bytes'],
    ['a block that is no multiple of 4', patch(file([]), 4, 29), 'a block says that it has 29 bytes'],
    ['a section without byte order', patch(file([]), 8, 0), 'no byte order'],
  ])('%s is refused', (_, bytes, text) => {
    expect(() => readAll([bytes])).toThrow(text);
  });

  it('passes over what other programs have put there', () => {
    const [other = Buffer.alloc(0)] = recordEvent(opened);
    other.writeUInt32LE(0x0bad, 0);
    expect(readAll([Buffer.concat([...start(), other, ...recordEvent(opened)])]).events).toHaveLength(1);
  });

  it('refuses a part of a message whose first part is missing', () => {
    const bytes = Buffer.alloc(500_000);
    const parts = recordEvent({
      ...opened,
      kind: 'message',
      from: 'client',
      bytes,
      wireSize: bytes.length,
      fds: [],
    });
    expect(parts).toHaveLength(3);
    expect(() => readAll([Buffer.concat([...start(), ...parts.slice(1)])])).toThrow(
      'a part of a message is missing',
    );
  });
});

const opened: TraceEvent = { kind: 'opened', connection: { number: 1, role: 'main' }, time: 1n, pid: 5 };

function patch(bytes: Buffer, at: number, value: number): Buffer {
  bytes.writeUInt32LE(value, at);
  return bytes;
}
