import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Framer, MAX_SKIPPED_MESSAGE } from '../../src/transport/framer.ts';
import { rawMessage } from '../helpers/raw-client.ts';

const MAX = 8192;

interface Sent {
  readonly bytes: Buffer;
  readonly fds: readonly number[];
}

/** A buffer of the kernel: what one send has put into the socket. */
interface Piece {
  readonly bytes: Buffer;
  fds: readonly number[];
}

/** A UNIX stream socket as unix(7) has it: a read takes pieces in order and ends after the one that brought fds. */
class Socket {
  readonly #pieces: Piece[];

  constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces.map((piece) => ({ ...piece }));
  }

  get empty(): boolean {
    return this.#pieces.length === 0;
  }

  read(limit: number): Piece {
    const taken: Buffer[] = [];
    let fds: readonly number[] = [];
    for (let left = limit; left > 0 && fds.length === 0; ) {
      const piece = this.#pieces.shift();
      if (piece === undefined) break;
      const part = piece.bytes.subarray(0, left);
      taken.push(part);
      fds = piece.fds;
      left -= part.length;
      if (part.length < piece.bytes.length) {
        this.#pieces.unshift({ bytes: piece.bytes.subarray(part.length), fds: [] });
        if (fds.length > 0) break;
      }
    }
    return { bytes: Buffer.concat(taken), fds };
  }
}

type Found = { readonly what: string; readonly bytes: Buffer; readonly fds: readonly number[] };

/** Reads everything with reads of the given sizes and returns what the framer found; `stray` collects nobody's fds. */
function frame(framer: Framer, socket: Socket, sizes: readonly number[], stray: number[] = []): Found[] {
  const found: Found[] = [];
  for (let turn = 0; !socket.empty; turn += 1) {
    const wanted = sizes[turn % sizes.length] ?? 1;
    const room = framer.receiveLength;
    expect(room).toBeGreaterThan(0);
    expect(framer.receiveOffset + room).toBeLessThanOrEqual(framer.bytes.length);
    const { bytes, fds } = socket.read(Math.min(wanted, room));
    framer.bytes.set(bytes, framer.receiveOffset);
    if (fds.length === 0 && framer.pushWhole(bytes.length)) {
      const message = Buffer.from(framer.bytes.subarray(framer.messageStart, framer.messageEnd));
      found.push({ what: 'message', bytes: message, fds: [] });
      continue;
    }
    framer.push(bytes.length, fds);
    for (let what = framer.next(); what !== 'incomplete' && what !== 'broken'; what = framer.next()) {
      stray.push(...framer.takeStrayFds());
      const message = Buffer.from(framer.bytes.subarray(framer.messageStart, framer.messageEnd));
      found.push({ what, bytes: message, fds: framer.takeFds() });
    }
  }
  return found;
}

/** Cuts `bytes` into pieces; the fds travel with the first one. */
function cut(message: Sent, cuts: readonly number[]): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const size of [...cuts, message.bytes.length]) {
    const bytes = message.bytes.subarray(at, at + size);
    if (bytes.length > 0) pieces.push({ bytes, fds: at === 0 ? message.fds : [] });
    at += size;
  }
  return pieces;
}

let nextFd = 100;
const messages = fc.array(
  fc
    .record({
      size: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: MAX - 16 })),
      fds: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) },
      ),
      cuts: fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 3 }),
      seed: fc.integer({ min: 0, max: 255 }),
    })
    .map(({ size, fds, cuts, seed }) => {
      const payload = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed) & 0xff));
      const bytes = rawMessage(seed, 9, payload);
      return { message: { bytes, fds: Array.from({ length: fds }, () => nextFd++) }, cuts };
    }),
  { maxLength: 40 },
);
const readSizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 100_000 })), {
  minLength: 1,
  maxLength: 8,
});

const largeReads = fc.array(fc.integer({ min: 500, max: 100_000 }), { minLength: 1, maxLength: 8 });

describe('Framer', () => {
  it('finds every message and its fds, however senders and reads cut the stream', () => {
    fc.assert(
      fc.property(messages, readSizes, (sent, sizes) => {
        const framer = new Framer(MAX);
        const socket = new Socket(sent.flatMap(({ message, cuts }) => cut(message, cuts)));
        const found = frame(framer, socket, sizes);
        expect(found.map(({ what }) => what)).toEqual(sent.map(() => 'message'));
        expect(found.map(({ fds }) => fds)).toEqual(sent.map(({ message }) => message.fds));
        expect(found.every(({ bytes }, i) => bytes.equals(sent[i]?.message.bytes ?? Buffer.alloc(0)))).toBe(
          true,
        );
        expect(framer.pending).toBe(0);
        expect(framer.hasFds).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it('gives the fds of messages that were sent together to the last of them', () => {
    const [a, b] = [rawMessage(1, 2, Buffer.alloc(32)), rawMessage(2, 2, Buffer.alloc(32))];
    const found = frame(new Framer(MAX), new Socket([{ bytes: Buffer.concat([a, b]), fds: [7] }]), [MAX]);
    expect(found.map(({ fds }) => fds)).toEqual([[], [7]]);
  });

  it('gives a message all fds that came with any of its parts', () => {
    const bytes = rawMessage(1, 2, Buffer.alloc(32));
    const pieces = [
      { bytes: bytes.subarray(0, 4), fds: [7] },
      { bytes: bytes.subarray(4, 30), fds: [] },
      { bytes: bytes.subarray(30), fds: [8, 9] },
    ];
    expect(frame(new Framer(MAX), new Socket(pieces), [MAX]).map(({ fds }) => fds)).toEqual([[7, 8, 9]]);
  });

  it('skips the body of a message that is too long, whatever the reads, and goes on behind it', () => {
    fc.assert(
      fc.property(fc.integer({ min: MAX + 1, max: 300_000 }), largeReads, (size, sizes) => {
        const big = rawMessage(1, 10, Buffer.alloc(size - 16, 0xee));
        const after = rawMessage(2, 9, Buffer.from('after'));
        const framer = new Framer(MAX);
        const found = frame(framer, new Socket([{ bytes: Buffer.concat([big, after]), fds: [] }]), sizes);
        expect(found.map(({ what }) => what)).toEqual(['too-big', 'message']);
        expect(found[0]?.bytes.equals(big.subarray(0, 16))).toBe(true);
        expect(found[1]?.bytes.equals(after)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('calls the fds inside a skipped body stray', () => {
    const big = rawMessage(1, 10, Buffer.alloc(20_000));
    const pieces = [
      { bytes: big.subarray(0, 16), fds: [5] },
      { bytes: big.subarray(16, 9000), fds: [6] },
      { bytes: big.subarray(9000), fds: [] },
      { bytes: rawMessage(2, 9, Buffer.alloc(0)), fds: [7] },
    ];
    const stray: number[] = [];
    const found = frame(new Framer(MAX), new Socket(pieces), [100_000], stray);
    expect(found.map(({ fds }) => fds)).toEqual([[5], [7]]);
    expect(stray).toEqual([6]);
  });

  it.each([0, 1, 15])('takes a size of %i for a message that is a header alone', (size) => {
    const header = rawMessage(3, 4, Buffer.alloc(0));
    header.writeUInt32LE(size, 4);
    const after = rawMessage(4, 9, Buffer.from('x'));
    const pieces = [{ bytes: Buffer.concat([header, after]), fds: [] }];
    const found = frame(new Framer(MAX), new Socket(pieces), [MAX]);
    expect(found.map(({ what }) => what)).toEqual(['too-small', 'message']);
    expect(found[1]?.bytes).toEqual(after);
  });

  it.each([
    ['longest that is skipped', MAX_SKIPPED_MESSAGE, 'too-big'],
    ['shortest that is not', MAX_SKIPPED_MESSAGE + 1, 'broken'],
    ['longest there can be', 0xffff_ffff, 'broken'],
  ])('draws the line between too long and broken: the %s', (_, size, what) => {
    const header = rawMessage(3, 4, Buffer.alloc(0));
    header.writeUInt32LE(size, 4);
    const framer = new Framer(MAX);
    framer.bytes.set(header);
    framer.push(header.length, []);
    expect(framer.next()).toBe(what);
  });

  it('takes a message of exactly the longest length', () => {
    const bytes = rawMessage(1, 9, Buffer.alloc(MAX - 16, 1));
    const found = frame(new Framer(MAX), new Socket([{ bytes, fds: [] }]), [4096]);
    expect(found).toEqual([{ what: 'message', bytes, fds: [] }]);
  });

  it('takes a message that arrives alone at once, and only that', () => {
    const one = rawMessage(1, 9, Buffer.alloc(20));
    const short = rawMessage(1, 9, Buffer.alloc(0));
    short.writeUInt32LE(15, 4);
    const long = rawMessage(1, 9, Buffer.alloc(MAX - 15));
    const whole = (bytes: Uint8Array, prepare: (framer: Framer) => void = () => {}): boolean => {
      const framer = new Framer(MAX);
      prepare(framer);
      framer.bytes.set(bytes, framer.receiveOffset);
      const taken = framer.pushWhole(bytes.length);
      if (taken) expect([framer.messageStart, framer.messageEnd]).toEqual([0, bytes.length]);
      else framer.push(bytes.length, []);
      expect(framer.receiveOffset === 0).toBe(taken);
      return taken;
    };
    expect(whole(one)).toBe(true);
    expect(whole(Buffer.concat([one, one]))).toBe(false);
    expect(whole(one.subarray(0, 35))).toBe(false);
    expect(whole(one.subarray(0, 15))).toBe(false);
    expect(whole(short)).toBe(false);
    expect(whole(long)).toBe(false);
    expect(whole(one, (framer) => framer.push(8, []))).toBe(false);
    expect(whole(one, (framer) => framer.push(0, [3]))).toBe(false);
  });

  it('asks for the rest of a large message alone, so that the next one needs no move', () => {
    const framer = new Framer(1 << 20);
    const header = rawMessage(1, 9, Buffer.alloc(0));
    header.writeUInt32LE(500_000, 4);
    framer.bytes.set(header);
    framer.push(16, []);
    expect(framer.next()).toBe('incomplete');
    expect(framer.receiveLength).toBe(500_000 - 16);
  });

  it('counts what is part of no complete message', () => {
    const framer = new Framer(MAX);
    framer.push(10, [3, 4]);
    expect(framer.next()).toBe('incomplete');
    expect(framer.pending).toBe(10);
    expect(framer.fdCount).toBe(2);
    expect(framer.takeAllFds()).toEqual([3, 4]);
    expect(framer.fdCount).toBe(0);
  });
});
