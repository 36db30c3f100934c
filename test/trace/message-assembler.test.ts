import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MessageAssembler } from '../../src/trace/index.ts';
import { MAX_KEPT } from '../../src/trace/message-assembler.ts';
import { whole } from './support.ts';

describe('messages put together from pieces', () => {
  it('are the same wherever the stream is divided, each with the fds of the piece that completed it', () => {
    const sizes = fc.array(fc.nat(70), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(sizes, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (payloads, steps) => {
        const messages = payloads.map((length, i) => whole(i, false, Buffer.alloc(length, i)));
        const stream = Buffer.concat(messages);
        const assembler = new MessageAssembler<number>();
        const got: { bytes: string; fds: readonly number[] }[] = [];
        const lastBytes: number[] = [];
        for (let at = 0, n = 0; at < stream.length; n += 1) {
          const step = steps[n % steps.length] ?? 1;
          const piece = stream.subarray(at, at + step);
          at += piece.length;
          lastBytes.push(at - 1);
          for (const one of assembler.push(piece, [at - 1])) {
            expect(one.isMessage).toBe(true);
            got.push({ bytes: Buffer.from(one.bytes).toString('hex'), fds: one.fds });
          }
        }
        expect(got.map(({ bytes }) => bytes)).toEqual(messages.map((one) => one.toString('hex')));
        let start = 0;
        for (const [i, message] of messages.entries()) {
          const end = start + message.length;
          expect(got[i]?.fds).toEqual(lastBytes.filter((byte) => byte >= start && byte < end));
          start = end;
        }
        expect(assembler.end()).toBeNull();
      }),
      { numRuns: 200 },
    );
  });

  it.each([15, 64 * 1024 * 1024 + 1])('end where a size is %d; the rest comes as it came', (size) => {
    const assembler = new MessageAssembler<number>();
    const broken = whole(1, false, Buffer.alloc(0));
    broken.writeUInt32LE(size, 4);
    const done = assembler.push(
      Buffer.concat([whole(2, false, Buffer.of(1)), broken, Buffer.from('rest')]),
      [5],
    );
    expect(done.map(({ isMessage, bytes, fds }) => [isMessage, bytes.length, fds])).toEqual([
      [true, 17, []],
      [false, 16, []],
      [false, 4, [5]],
    ]);
    expect(assembler.understood).toBe(false);
    expect(assembler.push(Buffer.from('x'), [])).toMatchObject([{ isMessage: false, wireSize: 1 }]);
  });

  it('are told of when the stream ends inside one', () => {
    const assembler = new MessageAssembler<number>();
    assembler.push(whole(1, false, Buffer.alloc(100)).subarray(0, 50), [3]);
    expect(assembler.end()).toMatchObject({ isMessage: false, wireSize: 50, fds: [3] });
  });

  it('take no memory for what a header only promises, and keep the beginning of what is too long', () => {
    const assembler = new MessageAssembler<number>();
    const head = whole(1, false, Buffer.alloc(0));
    head.writeUInt32LE(MAX_KEPT + 1_000_000, 4);
    const before = process.memoryUsage().arrayBuffers;
    expect(assembler.push(head, [])).toEqual([]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    const block = Buffer.alloc(1_000_000);
    let done: ReturnType<typeof assembler.push> = [];
    while (done.length === 0) done = assembler.push(block, []);
    expect(done[0]).toMatchObject({ isMessage: true, wireSize: MAX_KEPT + 1_000_000 });
    expect(done[0]?.bytes.length).toBe(MAX_KEPT);
  });
});
