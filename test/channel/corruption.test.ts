import { isDeepStrictEqual } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { FRAME_HEADER_SIZE } from '../../src/channel/frame.ts';
import { bytes, samples } from './samples.ts';
import { collect, type Got, recorded, side, turn } from './stream-support.ts';

/** Every byte of a stream takes some seconds of a processor that may have to be shared. */
const PATIENCE_MS = 240_000;

const items = [
  samples.MANIFEST,
  samples.OPEN,
  { ...samples.DATA, body: bytes(60, 1) },
  { ...samples.DATA, body: bytes(40, 2) },
  samples.ZERO,
  { ...samples.MEMORY, body: bytes(20, 3) },
  samples.COMPLETE,
  samples.COMMIT,
];

/** A second recording that is as sound as the first. */
const others = items.map((item) => ('body' in item ? { ...item, body: bytes(60, 9) } : item));

let stream: Uint8Array;
let frames: Uint8Array[];
beforeAll(() => {
  stream = recorded(items);
  frames = split(stream);
});

/** What happens when a receiver gets these bytes, and then the end of the connection. */
async function receive(all: Uint8Array, piece?: number): Promise<{ got: Got[]; ended: string }> {
  const { channel, link } = side('receiver');
  const got = collect(channel);
  await turn();
  link.arrive(all, piece);
  await turn();
  link.hangUp();
  const end = await channel.closed;
  return { got, ended: end.error?.code ?? end.reason };
}

/** Cuts a recording into frames. */
function split(all: Uint8Array): Uint8Array[] {
  const cut: Uint8Array[] = [];
  const view = new DataView(all.buffer, all.byteOffset);
  for (let at = 0; at < all.length; ) {
    const end = at + FRAME_HEADER_SIZE + view.getUint32(at + 12, true);
    cut.push(all.subarray(at, end));
    at = end;
  }
  return cut;
}

/** Whether what was delivered is the beginning of what was sent, byte for byte. */
function isPrefix(got: readonly Got[]): boolean {
  return got.every(({ message, body }, index) => {
    const sent = items[index];
    const wanted = sent !== undefined && 'body' in sent ? (sent.body ?? new Uint8Array()) : new Uint8Array();
    return isDeepStrictEqual(message, sent?.message) && Buffer.compare(body, wanted) === 0;
  });
}

it.each([undefined, 1, 7, 100])('takes a sound stream in pieces of any size (%s)', async (piece) => {
  const { got, ended } = await receive(stream, piece);
  expect([got.length, ended]).toEqual([items.length, 'closed']);
  expect(isPrefix(got)).toBe(true);
});

describe('a stream in which', () => {
  it('any single byte was changed is refused before what was changed is delivered', {
    timeout: PATIENCE_MS,
  }, async () => {
    const unnoticed: number[] = [];
    for (let at = 0; at < stream.length; at += 1) {
      const changed = stream.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      const { got, ended } = await receive(changed);
      if (!/^ERR_CHANNEL_(CHECKSUM|CUT)$/.test(ended) || !isPrefix(got)) unnoticed.push(at);
    }
    expect(unnoticed).toEqual([]);
  });

  it('anything is missing at the end is never taken for a whole one', async () => {
    const unnoticed: number[] = [];
    for (let length = 0; length < stream.length; length += 1) {
      const { got, ended } = await receive(stream.subarray(0, length));
      if (ended !== 'ERR_CHANNEL_CUT' || !isPrefix(got)) unnoticed.push(length);
    }
    expect(unnoticed).toEqual([]);
  });

  it('a frame is repeated, missing or moved is refused', async () => {
    for (let index = 0; index < frames.length; index += 1) {
      const frame = frames[index] ?? new Uint8Array();
      const repeated = [...frames.slice(0, index), frame, frame, ...frames.slice(index + 1)];
      const missing = frames.toSpliced(index, 1);
      const moved = [...missing.slice(0, -1), frame, ...missing.slice(-1)];
      for (const [what, variant] of Object.entries({ repeated, missing, moved })) {
        if (what === 'moved' && index >= frames.length - 2) continue;
        const { got, ended } = await receive(new Uint8Array(Buffer.concat(variant)));
        const last = index === frames.length - 1;
        const codes = last && what !== 'moved' ? /closed|ERR_CHANNEL_(ORDER|CUT)/ : /ERR_CHANNEL_ORDER/;
        expect(ended, `frame ${index} ${what}`).toMatch(codes);
        expect(isPrefix(got), `frame ${index} ${what}`).toBe(true);
      }
    }
  });

  it('the last frame is missing is not taken for a whole one', async () => {
    const { ended } = await receive(new Uint8Array(Buffer.concat(frames.slice(0, -1))));
    expect(ended).toBe('ERR_CHANNEL_CUT');
  });

  it('bytes are inserted or removed anywhere is refused', async () => {
    for (let at = 1; at < stream.length - 1; at += 13) {
      const inserted = Buffer.concat([stream.subarray(0, at), Buffer.of(0), stream.subarray(at)]);
      const removed = Buffer.concat([stream.subarray(0, at), stream.subarray(at + 1)]);
      for (const variant of [inserted, removed]) {
        const { got, ended } = await receive(new Uint8Array(variant));
        expect(ended, `byte ${at}`).toMatch(/^ERR_CHANNEL_(CHECKSUM|CUT)$/);
        expect(isPrefix(got), `byte ${at}`).toBe(true);
      }
    }
  });

  it('a frame of another session stands is refused', async () => {
    const foreign = side('sender', { session: 'b0b1b2b3b4b5b6b7b8b9babbbcbdbebf' });
    for (const item of others) foreign.channel.send(item.message, 'body' in item ? item.body : undefined);
    const strange = split(foreign.link.bytes);
    foreign.channel.abort('recorded');
    for (let index = 0; index < strange.length; index += 1) {
      const mixed = frames.with(index, strange[index] ?? new Uint8Array());
      const { got, ended } = await receive(new Uint8Array(Buffer.concat(mixed)));
      expect(ended, `frame ${index}`).toBe('ERR_CHANNEL_CHECKSUM');
      expect(got).toHaveLength(index);
    }
  });

  it('its own frames come back is refused by the sender', async () => {
    const { channel, link } = side('sender');
    link.arrive(stream);
    expect((await channel.closed).error?.code).toBe('ERR_CHANNEL_CHECKSUM');
  });
});
