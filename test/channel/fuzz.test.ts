import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { GreetingBuffer } from '../../src/channel/greeting.ts';
import { ChannelError } from '../../src/channel/index.ts';
import { SEED } from '../helpers/seed.ts';
import { bytes, samples } from './samples.ts';
import { collect, recorded, side, turn } from './stream-support.ts';

const { FERRY_FUZZ_COUNT } = process.env;
const count = Number(FERRY_FUZZ_COUNT ?? 300);

/** Random numbers that a seed repeats (mulberry32). */
function randomOf(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A stream with one to four things done to it: bytes changed, cut out, doubled, put in. */
function mutate(stream: Uint8Array, random: (below: number) => number): Uint8Array {
  let out = Buffer.from(stream);
  for (let times = 1 + random(4); times > 0; times -= 1) {
    const at = random(out.length);
    const length = random(200);
    const rest = out.subarray(at + length);
    switch (random(4)) {
      case 0:
        out[at] = random(256);
        break;
      case 1:
        out = Buffer.concat([out.subarray(0, at), rest]);
        break;
      case 2:
        out = Buffer.concat([out.subarray(0, at + length), out.subarray(at, at + length), rest]);
        break;
      default:
        out = Buffer.concat([out.subarray(0, at), bytes(length, random(2 ** 31)), out.subarray(at)]);
    }
  }
  return new Uint8Array(out);
}

const items = [
  samples.MANIFEST,
  { ...samples.DATA, body: bytes(500) },
  samples.ZERO,
  samples.COMPLETE,
  samples.COMMIT,
];

it(`a mutated stream is refused, or is the stream (FERRY_FUZZ_SEED=${SEED})`, async () => {
  const random = randomOf(SEED);
  const sound = recorded(items);
  for (let round = 0; round < count; round += 1) {
    const stream = mutate(sound, random);
    const { channel, link } = side('receiver');
    const got = collect(channel);
    await turn();
    link.arrive(stream, 1 + random(stream.length));
    await turn();
    link.hangUp();
    const { error } = await channel.closed;
    const same = Buffer.compare(stream, sound) === 0;
    // Only what comes after a whole stream may be ignored: by then the channel is over.
    const whole = Buffer.compare(stream.subarray(0, sound.length), sound) === 0;
    if (error === null) expect(whole || same, `round ${round}`).toBe(true);
    else expect(error, `round ${round}`).toBeInstanceOf(ChannelError);
    for (const [index, { message, body }] of got.entries()) {
      expect(message, `round ${round}`).toEqual(items[index]?.message);
      const sent: { readonly body?: Uint8Array } | undefined = items[index];
      expect(Buffer.compare(body, sent?.body ?? new Uint8Array())).toBe(0);
    }
  }
}, 120_000);

it(`random bytes are never a channel (FERRY_FUZZ_SEED=${SEED})`, async () => {
  const random = randomOf(SEED + 1);
  for (let round = 0; round < count; round += 1) {
    const { channel, link } = side('receiver');
    const got = collect(channel);
    await turn();
    link.arrive(bytes(1 + random(3000), random(2 ** 31)));
    link.hangUp();
    expect((await channel.closed).error).toBeInstanceOf(ChannelError);
    expect(got).toHaveLength(0);
  }
}, 120_000);

it(`random bytes are never a greeting (FERRY_FUZZ_SEED=${SEED})`, () => {
  const random = randomOf(SEED + 2);
  for (let round = 0; round < count; round += 1) {
    const buffer = new GreetingBuffer();
    const junk = bytes(1 + random(buffer.buffer.length), random(2 ** 31));
    // Half of them begin as a frame does.
    if (round % 2 === 0) junk.set([0x89, 0x46, 0x43, 0x48].slice(0, junk.length));
    buffer.buffer.set(junk);
    buffer.offset = junk.length;
    try {
      expect(buffer.parse({ kind: 'HELLO', from: 'sender', crc32 })).toBeNull();
      expect(junk.length).toBeLessThan(36);
    } catch (error) {
      expect(error).toBeInstanceOf(ChannelError);
    }
  }
});
