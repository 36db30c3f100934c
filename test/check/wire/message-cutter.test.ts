import fc from 'fast-check';
import { expect, it } from 'vitest';
import { joined, rawMessage } from '../../../src/check/wire/bytes.ts';
import { LARGEST_MESSAGE, MessageCutter } from '../../../src/check/wire/message-cutter.ts';

const message = (id: number, length: number): Uint8Array =>
  rawMessage(9, new Uint8Array(length).fill(id), { id });

it('finds the same messages wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 60 }), { minLength: 1, maxLength: 12 }),
      fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 60 }),
      (lengths, pieces) => {
        const stream = joined(...lengths.map((length, id) => message(id, length)));
        const cutter = new MessageCutter();
        const found = [];
        for (let at = 0, turn = 0; at < stream.length; turn += 1) {
          const size = 1 + (pieces[turn % pieces.length] ?? 0);
          found.push(...cutter.add(stream.slice(at, at + size), []));
          at += size;
        }
        expect(found.map(({ payload, header }) => [header.messageId, payload.length])).toEqual(
          lengths.map((length, id) => [id, length]),
        );
        expect(cutter.pending).toBe(0);
      },
    ),
  );
});

it('gives descriptors to the message with the last byte of their read', () => {
  const cutter = new MessageCutter();
  const stream = joined(message(1, 4), message(2, 4), message(3, 4));
  expect(cutter.add(stream.slice(0, 30), [7]).map(({ fds }) => fds)).toEqual([[]]);
  expect(cutter.add(stream.slice(30), [8]).map(({ fds }) => fds)).toEqual([[7], [8]]);
});

it.each([0, 15, LARGEST_MESSAGE + 1, 0xffff_ffff])('stops at a header that says %d bytes', (size) => {
  const cutter = new MessageCutter();
  expect(cutter.add(joined(message(1, 0), rawMessage(9, new Uint8Array(), { size })), [])).toHaveLength(1);
  expect(cutter.impossible).toBe(size);
  expect(cutter.add(message(2, 0), [])).toEqual([]);
});
