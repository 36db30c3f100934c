import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { FrameReader, type ParkedFrame } from '../../src/channel/frame-reader.ts';
import { FrameWriter, type OutgoingFrame } from '../../src/channel/frame-writer.ts';
import type { Staging } from '../../src/channel/link.ts';
import { messages } from '../../src/channel/messages.ts';
import { loadNative } from '../../src/native/index.ts';
import { FakeLink } from './fake-link.ts';

const WINDOW = 4 * 1024 * 1024;
const SEED = 0x1234;
const native = loadNative();

/** A link that takes what is put into its memory, as a stream does. */
class StagedLink extends FakeLink implements Staging {
  override readonly staging = this;
  #reserved = new Uint8Array(0);

  reserve(size: number): Uint8Array {
    this.#reserved = new Uint8Array(size).fill(0xee);
    return this.#reserved;
  }

  commit(): void {
    this.written.push(this.#reserved);
  }
}

const HEAD = 2;

function frame(bytes: Uint8Array, live = false): OutgoingFrame {
  const head = new Uint8Array(HEAD);
  return { kind: messages.DATA.number, flags: 0, rawLength: HEAD + bytes.length, head, body: bytes, live };
}

function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
}

/** The payloads that a reader makes of it, given to it in pieces that it has to copy, or put where it wants them. */
function read(stream: Uint8Array, piece: number, copies: boolean): Uint8Array[] {
  const payloads: Uint8Array[] = [];
  const accept = (parked: ParkedFrame): void => {
    payloads.push(parked.payload.slice());
    reader.release(parked);
  };
  const reader = new FrameReader({
    ...{ window: WINDOW, crc32: native.crc32, crc32Copy: native.crc32Copy },
    accept,
  });
  reader.seed = SEED;
  for (let at = 0; at < stream.length; ) {
    const part = stream.subarray(at, at + Math.min(piece, reader.room));
    if (copies) reader.put(part);
    else reader.buffer.set(part, reader.offset);
    reader.received(part.length);
    at += part.length;
  }
  return payloads;
}

const sizes = [0, 1, 63, 5000, 70_000, 300_000];
const LINKS = { 'from where they are': () => new FakeLink(), 'by way of its memory': () => new StagedLink() };
const SUMS = { 'the addon': native, 'node:zlib': { crc32 } };

/** What a link of each kind was given. */
function written(link: FakeLink, sums: { readonly crc32: typeof native.crc32 }, live = false): Uint8Array {
  const writer = new FrameWriter(link, sums);
  writer.seed = SEED;
  for (const [i, size] of sizes.entries()) writer.write(frame(bytes(size), live), i + 1);
  return link.bytes;
}

describe('frames', () => {
  const expected = sizes.map((size) => Buffer.concat([new Uint8Array(HEAD), bytes(size)]));

  it.each(
    Object.entries(LINKS).flatMap(([way, link]) =>
      Object.entries(SUMS).map(([who, sums]) => ({ way, who, link, sums })),
    ),
  )('that a link takes $way, summed by $who, are the same and arrive whole', ({ link, sums }) => {
    const stream = written(link(), sums);
    expect(Buffer.compare(stream, written(new FakeLink(), { crc32 }))).toBe(0);
    for (const copies of [true, false]) {
      for (const piece of [7, 16_384, Number.POSITIVE_INFINITY]) {
        const got = read(stream, piece, copies);
        expect(got.map((each, i) => Buffer.compare(each, expected[i] ?? new Uint8Array()))).toEqual(
          sizes.map(() => 0),
        );
      }
    }
  });

  it('are refused when a byte was changed, also when they are copied on the way', () => {
    const stream = written(new StagedLink(), native);
    for (let at = 0; at < stream.length; at += 4999) {
      const changed = stream.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      expect(() => read(changed, 16_384, true)).toThrow();
    }
  });

  it.each(Object.entries(LINKS))('of a body that changes meanwhile are whole: %s', (_, link) => {
    const sums = {
      crc32: native.crc32,
      crc32Copy: (target: Uint8Array, at: number, source: Uint8Array, seed: number): number => {
        const sum = native.crc32Copy(target, at, source, seed);
        // Somebody else writes as soon as it has been read.
        if (source.length > HEAD) source.fill(0);
        return sum;
      },
    };
    const there = link();
    expect(read(written(there, sums, true), 16_384, true).map((each) => each.length)).toEqual(
      sizes.map((size) => HEAD + size),
    );
  });
});
