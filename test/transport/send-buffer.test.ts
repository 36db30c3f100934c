import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { Control, type Native } from '../../src/native/index.ts';
import { SendBuffer } from '../../src/transport/send-buffer.ts';
import { native, receiveNow, socketpair } from './support.ts';

const MAX = 4096;
/** Room of the buffer under test: two of the longest messages and two batches. */
const ROOM = 2 * MAX + 2 * 32 * 1024;

/** A socket that takes as many bytes of each send as the test says; negative: an errno. */
class Sink {
  readonly calls: {
    /** Bytes sent before. */
    readonly bytes: number;
    /** Bytes offered. */
    readonly offered: number;
    readonly fds: readonly number[] | null;
  }[] = [];
  readonly chunks: Buffer[] = [];
  /** How much the next sends take; when it is used up, everything. */
  takes: number[] = [];

  readonly native: Native = { ...native, send: (...args) => this.#send(...args) };

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  #send(...args: Parameters<Native['send']>): number {
    const [, head, headOffset, headLength, body, bodyOffset, bodyLength, fds] = args;
    const all = Buffer.concat([
      head.subarray(headOffset, headOffset + headLength),
      body === null ? Buffer.alloc(0) : body.subarray(bodyOffset, bodyOffset + bodyLength),
    ]);
    const take = this.takes.shift() ?? all.length;
    if (take <= 0) return take === 0 ? -Errno.EAGAIN : take;
    const taken = all.subarray(0, Math.min(take, all.length));
    this.calls.push({ bytes: this.bytes.length, offered: all.length, fds });
    this.chunks.push(taken);
    return taken.length;
  }
}

function build(sink = new Sink()) {
  return { sink, out: new SendBuffer(sink.native, 1, MAX) };
}

function put(out: SendBuffer, id: number, payload: Uint8Array): boolean {
  const at = out.begin(id, 9, 0, 0, payload.length);
  if (at >= 0) out.bytes.set(payload, at);
  return at >= 0;
}

function message(id: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt16LE(id, 0);
  header.writeUInt16LE(9, 2);
  header.writeUInt32LE(16 + payload.length, 4);
  return Buffer.concat([header, payload]);
}

/** How many bytes a port would send. */
function offered({ control }: SendBuffer): number {
  return (control[Control.TX_END] ?? 0) - (control[Control.TX_START] ?? 0);
}

/** Flushes as a connection does: again whenever the socket takes data, for ever if need be. */
function drain(out: SendBuffer): void {
  for (let turn = 0; turn < 10_000 && !out.flush(); turn += 1);
  expect(out.pending).toBe(0);
}

const payload = fc
  .record({
    size: fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: MAX - 16 })),
    seed: fc.nat(255),
  })
  .map(({ size, seed }) => Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i + seed) & 0xff)));
const step = fc.oneof(
  fc.record({ kind: fc.constant('message' as const), payload, fds: fc.constantFrom(0, 0, 0, 1, 2) }),
  fc.record({ kind: fc.constant('body' as const), payload }),
  fc.record({ kind: fc.constant('cancelled' as const), payload }),
  fc.record({ kind: fc.constant('flush' as const) }),
);
const takes = fc.array(
  fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 9000 })),
  {
    maxLength: 60,
  },
);

describe('SendBuffer', () => {
  it('sends every byte in order and each fd with the first byte of its message, however little is taken', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), takes, (steps, taken) => {
        const { sink, out } = build();
        sink.takes = [...taken];
        const expected: Buffer[] = [];
        const fdsAt: [number, readonly number[]][] = [];
        let length = 0;
        for (const [id, each] of steps.entries()) {
          if (each.kind === 'flush') out.flush();
          else if (each.kind === 'cancelled') {
            if (!put(out, id, each.payload)) continue;
            out.attachFds([1]);
            expect(out.cancel(out.newest)).toBe(true);
          } else if (each.kind === 'message') {
            if (!put(out, id, each.payload)) continue;
            const fds = Array.from({ length: each.fds }, (_, i) => id * 10 + i);
            out.attachFds(fds);
            if (fds.length > 0) fdsAt.push([length, fds]);
            expected.push(message(id, each.payload));
          } else {
            if (!out.fits(each.payload.length) || !put(out, id, Buffer.alloc(0))) continue;
            expect(out.flushWith(each.payload)).toBe(true);
            expected.push(message(id, each.payload));
          }
          length = expected.reduce((sum, { length: size }) => sum + size, 0);
        }
        drain(out);
        expect(sink.bytes.equals(Buffer.concat(expected))).toBe(true);
        expect(sink.calls.filter(({ fds }) => fds !== null).map(({ bytes, fds }) => [bytes, fds])).toEqual(
          fdsAt,
        );
      }),
      { numRuns: 300 },
    );
  });

  it('never offers a header that the kernel could cut in two: none reaches beyond 32 KiB of a send', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: MAX - 16 }), { minLength: 1, maxLength: 40 }),
        takes,
        (sizes, taken) => {
          const { sink, out } = build();
          sink.takes = [...taken];
          const starts: number[] = [];
          let at = 0;
          for (const [id, size] of sizes.entries()) {
            if (!put(out, id, Buffer.alloc(size))) continue;
            starts.push(at);
            at += 16 + size;
          }
          drain(out);
          for (const { bytes, offered } of sink.calls) {
            for (const start of starts.filter((each) => each >= bytes && each < bytes + offered)) {
              expect(start + 16 - bytes).toBeLessThanOrEqual(32 * 1024);
              expect(start + 16).toBeLessThanOrEqual(bytes + offered);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('sends everything gathered with one call', () => {
    const { sink, out } = build();
    for (let id = 0; id < 50; id += 1) put(out, id, Buffer.from('payload'));
    expect(out.flush()).toBe(true);
    expect(sink.calls).toHaveLength(1);
  });

  it('never lets a message with fds share a call, so that the receiver can tell whose they are', () => {
    const { sink, out } = build();
    put(out, 0, Buffer.from('a'));
    put(out, 1, Buffer.from('b'));
    out.attachFds([5]);
    put(out, 2, Buffer.from('c'));
    put(out, 3, Buffer.from('d'));
    out.attachFds([6]);
    out.flush();
    expect(sink.chunks.map((chunk) => chunk.length)).toEqual([17, 17, 17, 17]);
    expect(sink.calls.map(({ fds }) => fds)).toEqual([null, [5], null, [6]]);
  });

  it('keeps fds for the next try when nothing was taken, and sends them once when part was', () => {
    const { sink, out } = build();
    sink.takes = [0, 3];
    put(out, 1, Buffer.from('abc'));
    out.attachFds([5]);
    expect(out.flush()).toBe(false);
    expect(out.flush()).toBe(true);
    expect(sink.calls.map(({ fds }) => fds)).toEqual([[5], null]);
  });

  it('sends header and body with one call, uncopied', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('head'));
    expect(out.flushWith(Buffer.from('body'))).toBe(true);
    expect(sink.chunks).toHaveLength(1);
    expect(sink.bytes).toEqual(message(1, Buffer.from('headbody')));
    expect(out.pending).toBe(0);
  });

  it('gives the body of a message with fds after them', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('head'));
    out.attachFds([5]);
    out.flushWith(Buffer.from('body'));
    drain(out);
    expect(sink.bytes).toEqual(message(1, Buffer.from('headbody')));
    expect(sink.calls.map(({ fds }) => fds)).toEqual([[5], null]);
  });

  it('refuses what does not fit and takes it when there is room again', () => {
    const { sink, out } = build();
    sink.takes = Array.from({ length: 1000 }, () => 0);
    let count = 0;
    while (put(out, count, Buffer.alloc(MAX - 16, count))) count += 1;
    expect(count).toBe(Math.floor(ROOM / MAX));
    expect(out.fits(MAX - 16)).toBe(false);
    expect(out.fits(0)).toBe(ROOM - count * MAX >= 16);
    sink.takes = [2 * MAX];
    out.flush();
    expect(out.fits(MAX - 16)).toBe(true);
    expect(put(out, count, Buffer.alloc(MAX - 16, count))).toBe(true);
    drain(out);
    expect(sink.bytes.length).toBe((count + 1) * MAX);
    expect(sink.bytes.at(-1)).toBe(count);
  });

  it('refuses a body of which nothing can be kept', () => {
    const { sink, out } = build();
    sink.takes = Array.from({ length: 1000 }, () => 0);
    while (out.fits(MAX)) put(out, 0, Buffer.alloc(MAX - 16));
    put(out, 1, Buffer.alloc(0));
    expect(out.flushWith(Buffer.alloc(2 * MAX))).toBe(false);
  });

  it('does not take back what has begun to be sent', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('abcdefgh'));
    const place = out.newest;
    sink.takes = [4];
    out.flush();
    expect(out.cancel(place)).toBe(false);
    drain(out);
    expect(out.cancel(place)).toBe(false);
    expect(sink.bytes).toEqual(message(1, Buffer.from('abcdefgh')));
  });

  it('does not take back anything but the newest message', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('a'));
    const first = out.newest;
    put(out, 2, Buffer.from('b'));
    expect(out.cancel(first)).toBe(false);
    expect(out.cancel(out.newest)).toBe(true);
    drain(out);
    expect(sink.bytes).toEqual(message(1, Buffer.from('a')));
  });

  it('takes back a message that a compaction has moved', () => {
    const { sink, out } = build();
    sink.takes = [];
    put(out, 1, Buffer.alloc(30_000, 1));
    sink.takes = [25_000, 0, 0, 0, 0, 0, 0];
    out.flush();
    put(out, 2, Buffer.alloc(30_000, 2));
    put(out, 3, Buffer.alloc(MAX, 3));
    const place = out.newest;
    expect(out.flushWith(Buffer.alloc(20_000, 4))).toBe(true);
    expect(out.cancel(place)).toBe(true);
    drain(out);
    expect(
      sink.bytes.equals(
        Buffer.concat([message(1, Buffer.alloc(30_000, 1)), message(2, Buffer.alloc(30_000, 2))]),
      ),
    ).toBe(true);
  });

  it('shortens the newest message', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('abcdef'));
    out.shrink(4);
    drain(out);
    expect(sink.bytes).toEqual(message(1, Buffer.from('ab')));
  });

  it('remembers why a send failed for good, and sends no more', () => {
    const { sink, out } = build();
    sink.takes = [-Errno.EPIPE];
    put(out, 1, Buffer.from('a'));
    expect(out.flush()).toBe(false);
    expect(out.failure).toBe(Errno.EPIPE);
    expect(out.flush()).toBe(false);
    expect(sink.calls).toHaveLength(0);
  });

  it('goes on where a port has stopped sending', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('first'));
    put(out, 2, Buffer.from('second'));
    const place = out.newest;
    expect(out.control.slice(Control.TX_START, Control.TX_END + 1)).toEqual(Int32Array.of(0, 43));
    out.control[Control.TX_START] = 5;
    expect(out.pending).toBe(38);
    expect(out.cancel(place)).toBe(true);
    put(out, 3, Buffer.from('third'));
    out.control[Control.TX_START] = 25;
    expect(out.cancel(out.newest)).toBe(false);
    drain(out);
    const all = Buffer.concat([message(1, Buffer.from('first')), message(3, Buffer.from('third'))]);
    expect(sink.bytes).toEqual(all.subarray(25));
  });

  it('starts at the front when a port has sent everything', () => {
    const { out } = build();
    for (let id = 0; id < 3; id += 1) {
      expect(out.begin(id, 9, 0, 0, MAX - 16)).toBe(16);
      out.control[Control.TX_START] = MAX;
      expect(out.pending).toBe(0);
    }
  });

  it('cuts no header in two after a port has sent part of a message', () => {
    const { sink, out } = build();
    sink.takes = Array.from({ length: 20 }, () => 0);
    put(out, 0, Buffer.alloc(MAX - 16));
    out.control[Control.TX_START] = 100;
    for (let id = 1; id < 16; id += 1) put(out, id, Buffer.alloc(MAX - 16));
    sink.takes = [];
    drain(out);
    expect(sink.calls.map(({ offered }) => offered)).toEqual([8 * MAX - 100, 8 * MAX]);
  });

  it.each([
    ['a few messages', [100, 200], true],
    ['one message, however large', [MAX - 16], true],
    ['more than the kernel keeps in one piece', Array(9).fill(MAX - 16), false],
  ])('leaves %s to a port: %s', (_, sizes, plain) => {
    const { sink, out } = build();
    sink.takes = [0, 0, 0];
    for (const [id, size] of sizes.entries()) put(out, id, Buffer.alloc(size));
    expect(out.plain).toBe(plain);
    expect(offered(out)).toBe(plain ? out.pending : 0);
  });

  it('leaves neither fds nor a socket that has failed to a port', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('x'));
    out.attachFds([5]);
    expect(out.plain).toBe(false);
    expect(offered(out)).toBe(0);
    out.flush();
    expect(out.plain).toBe(true);
    put(out, 2, Buffer.from('x'));
    expect(offered(out)).toBe(17);
    sink.takes = [-Errno.EPIPE];
    out.flush();
    expect(out.plain).toBe(false);
    expect(offered(out)).toBe(0);
  });

  it('keeps what is withheld, from a port too, and sends it when it is released', () => {
    const { sink, out } = build();
    put(out, 1, Buffer.from('before'));
    out.control[Control.TX_START] = 5;
    out.withhold();
    put(out, 2, Buffer.from('after'));
    expect(out.flush()).toBe(false);
    expect(out.flushWith(Buffer.from(' it'))).toBe(true);
    expect([sink.calls.length, offered(out), out.pending]).toEqual([0, 0, 22 + 24 - 5]);
    out.release();
    expect(offered(out)).toBe(out.pending);
    drain(out);
    const all = Buffer.concat([message(1, Buffer.from('before')), message(2, Buffer.from('after it'))]);
    expect(sink.bytes).toEqual(all.subarray(5));
  });

  it('carries a real fd over a real socket', () => {
    const [a, b] = socketpair();
    const out = new SendBuffer(native, a, MAX);
    const memfd = native.memfd('sent', 4096, false);
    put(out, 1, Buffer.from('x'));
    out.attachFds([memfd]);
    expect(out.flush()).toBe(true);
    const fds = new Int32Array(254);
    const chunk = new Uint8Array(100);
    expect(native.receive(b, chunk, 0, 100, fds, 0)).toBe(17);
    expect(fds[0]).toBe(1);
    for (const fd of [memfd, fds[1] ?? -1, a]) native.close(fd);
    expect(receiveNow(b)).toBeNull();
    native.close(b);
  });
});
