import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { features, messages, ProtocolError } from '../../src/protocol/index.ts';
import type { AnyPayload } from '../../src/protocol/payload.ts';
import { randomValue } from './arbitraries.ts';

/** What every payload also has; its value type is not known here. */
interface Encodable extends AnyPayload {
  encode(value: object): Uint8Array;
}

const payloads: readonly Encodable[] = [
  ...messages.flatMap(({ request, reply }) => [request, reply]),
  ...Object.values(features).flatMap(({ get, set }) =>
    [get, set].flatMap((method) => (method === null ? [] : [method.request, method.reply])),
  ),
].filter((payload): payload is Encodable => payload !== null && 'encode' in payload);

describe.each(payloads.map((payload) => ({ label: payload.label, payload })))('$label', ({ payload }) => {
  it('gives back every value it encodes', () => {
    fc.assert(
      fc.property(randomValue(payload), (value) => {
        expect(payload.decode(payload.encode(value))).toEqual(value);
      }),
    );
  });

  it('refuses every prefix of what it encodes with a ProtocolError or accepts it as another value', () => {
    fc.assert(
      fc.property(randomValue(payload), fc.nat(), (value, cut) => {
        const bytes = payload.encode(value);
        attempt(() => payload.decode(bytes.subarray(0, cut % (bytes.length + 1))));
      }),
    );
  });

  it('throws nothing but ProtocolError on random and on mutated bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 160 }), (bytes) => attempt(() => payload.describe(bytes))),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(
        randomValue(payload),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (value, changes) => {
          const bytes = payload.encode(value);
          for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
          attempt(() => payload.describe(bytes));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('refuses anything shorter than its smallest size', () => {
    for (let length = 0; length < payload.minSize; length += 1) {
      expect(() => payload.decode(new Uint8Array(length))).toThrow(ProtocolError);
    }
  });

  it('treats trailing bytes as declared', () => {
    fc.assert(
      fc.property(randomValue(payload), (value) => {
        const bytes = payload.encode(value);
        const longer = new Uint8Array(bytes.length + 3);
        longer.set(bytes);
        if (payload.trailing === 'tolerated') expect(payload.decode(longer)).toEqual(payload.decode(bytes));
        else if (endsWithTail(payload)) attempt(() => payload.decode(longer));
        else expect(() => payload.decode(longer)).toThrow('3 bytes too many');
      }),
      { numRuns: 20 },
    );
  });
});

/** Whether the tail takes all that is left, so that more bytes are more tail. */
function endsWithTail(payload: AnyPayload): boolean {
  const shape = payload.shape.tail?.shape;
  if (payload.older !== null || shape === undefined) return false;
  return (
    (shape.kind === 'bytes' && shape.length === null) ||
    shape.kind === 'text' ||
    shape.kind === 'chain' ||
    shape.kind === 'array'
  );
}

function attempt(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}
