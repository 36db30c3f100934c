import { fields, rawMessage, versionPayload } from '../helpers/raw-client.ts';

/** A small generator of the same numbers for the same seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A 32-bit number. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 to `end` - 1. */
  below(end: number): number {
    return Math.floor((this.next() / 2 ** 32) * end);
  }

  /** Whether something that happens once in `n` times happens now. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.below(list.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

const GET = 0x1_0000;
const SET = 0x2_0000;
const PROBE = 0x4_0000;

/** Proposals that differ in what they allow. */
export const proposals: readonly (string | null)[] = [
  '{"capabilities":{"max_msg_fds":16,"write_multiple":true,"ferry":{"inspect":true,"precopy_info":true}}}',
  '{"capabilities":{"max_msg_fds":16,"ferry":{"claim":true,"reconnection":true,"switchover":true,"inspect":true,"configuration":0}}}',
  '{"capabilities":{"max_msg_fds":1,"twin_socket":{"supported":true},"ferry":{"inspect":true}}}',
  '{"capabilities":{"max_data_xfer_size":1,"max_msg_fds":0,"write_multiple":true}}',
  '{"capabilities":{"max_data_xfer_size":16777216,"ferry":{"precopy_info":true}}}',
  null,
];

/** A command with a payload. */
export type Seed = readonly [command: number, payload: Buffer];

const states = [1, 2, 3, 4, 5, 6, 7].map((state): Seed => [16, fields(16, SET | 2, state, 0xffff_ffff)]);

/** Valid messages of every command and form; each works in some state on some socket. */
export const seeds: readonly Seed[] = [
  [1, versionPayload(0, 0)],
  [1, versionPayload(0, 0, null)],
  [2, fields(32, 3, 0n, 0x10_0000n, 0x1_0000n)],
  [2, fields(32, 7, 0n, 0x20_0000n, 0x1000n)],
  [2, fields(32, 11, 0n, 0x30_0000n, 0x1000n)],
  [2, fields(32, 3, 0n, 0n, 1n << 63n)],
  [3, fields(24, 0, 0x10_0000n, 0x1_0000n)],
  [3, fields(24, 2, 0n, 0n)],
  [3, fields(48, 1, 0x10_0000n, 0x1_0000n, 4096n, 8n)],
  [4, fields(16, 0, 0, 0)],
  [5, fields(64, 0, 0, 0, 0n, 0n)],
  [5, fields(64, 0, 2, 0, 0n, 0n)],
  [6, fields(16, 0, 0, 0)],
  [7, fields(16, 0, 2, 0)],
  [8, fields(20, 0x24, 2, 0, 1)],
  [8, fields(20, 0x24, 2, 0, 4)],
  [8, fields(20, 0x21, 2, 0, 0)],
  [8, fields(20, 0x09, 0, 0, 1)],
  [8, fields(20, 0x11, 0, 0, 1)],
  [8, fields(24, 0x22, 2, 0, 4, Buffer.of(1, 0, 1, 1))],
  [9, fields(0n, 0, 4)],
  [9, fields(0n, 7, 256)],
  [9, fields(0n, 2, 65_536)],
  [9, fields(0x10n, 1, 16)],
  [10, fields(4n, 0, 4, 0x1234)],
  [10, fields(0x0cn, 0, 8, 0x10_0000, 64)],
  [10, fields(0x18n, 0, 4, 1)],
  [10, fields(4n, 7, 2, Buffer.of(6, 5))],
  [10, fields(0x10n, 1, 16, Buffer.alloc(16, 1))],
  [10, fields(0x100n, 2, 256, Buffer.alloc(256, 0x5a))],
  [11, fields(0x10_0000n, 64n, Buffer.alloc(64))],
  [12, fields(0x10_0000n, 64n)],
  [13, fields()],
  [15, fields(2n, 4n, 0, 4, 1n, 8n, 0, 4, 2n)],
  [16, fields(16, GET | 1)],
  [16, fields(16, GET | 2)],
  [16, fields(16, GET | 9)],
  [16, fields(8, PROBE | SET | 2)],
  [16, fields(64, SET | 6, 4096n, 1, 0, 0n, 0x10_0000n)],
  [16, fields(64, SET | 6, 4096n, 0, 0)],
  [16, fields(8, SET | 7)],
  [16, fields(4096, GET | 8, 0n, 0x10_0000n, 4096n)],
  ...states,
  [17, fields(8 + 4096, 4096)],
  [17, fields(8 + 65_536, 65_536)],
  [18, fields(8 + 64, 64, Buffer.alloc(64))],
  [0xfe01, fields(24, 0)],
  [0xfe02, fields(65_536, 0)],
  ...[0, 1, 1, 2, 3, 3].map((operation): Seed => [0xfe03, fields(72, 0, operation, 0, 1n, 1n, 2n)]),
  [0xfe03, fields(72, 1, 3, 0, 9n, 0n, 0n)],
  ...[0, 1, 2, 3].map((operation): Seed => [0xfe04, fields(4096, 0, operation, 0)]),
  ...[0, 1, 2, 3].map((operation): Seed => [0xfe05, fields(16, 0, operation, 0, 4n)]),
];

const V1_REGION = 9;

/** The same for the migration region of v1: its registers, and a piece of data behind them. */
export const v1Seeds: readonly Seed[] = [
  ...[0, 1, 2, 3, 4].map((state): Seed => [10, fields(0n, V1_REGION, 4, state)]),
  ...[0n, 8n, 16n, 24n].map((offset): Seed => [9, fields(offset, V1_REGION, offset === 0n ? 4 : 8)]),
  [9, fields(4096n, V1_REGION, 4096)],
  [10, fields(24n, V1_REGION, 8, 4096n)],
  [10, fields(4096n, V1_REGION, 64, Buffer.alloc(64, 0x46))],
];

/** Numbers at which things break. */
const edges = [
  0, 1, 2, 7, 8, 15, 16, 0xff, 0xfff, 0x1000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff,
];

/** Values that a member of JSON may have instead of its own. */
const jsonValues: readonly string[] = [
  ...['0', '-1', '1', '16', '1e3', '0.5', '1e999', '4294967295', '4294967296', '18446744073709551616'],
  ...['null', 'true', '"16"', '""', '[]', '{}', '{"supported":true}', '[[[[[[[[', '\ud800', '"\\u0000"', ''],
];

/** Version data with one value, or one character, that is another. */
export function spoiltJson(random: Random, json: string): string {
  const values = [...json.matchAll(/:(-?[\d.]+|true|false|null|"[^"]*")/g)];
  if (values.length === 0 || random.once(4)) {
    const at = random.below(json.length);
    return (
      json.slice(0, at) +
      random.pick(['', '{', '}', ',', '"', '\0', '\u00ff']) +
      json.slice(at + random.below(3))
    );
  }
  const { index, 0: found } = random.pick(values);
  return `${json.slice(0, index)}:${random.pick(jsonValues)}${json.slice(index + found.length)}`;
}

/** One message: a valid one, one with mistakes, or noise. */
export function randomMessage(random: Random, more: readonly Seed[] = []): Buffer {
  if (random.once(400)) return Buffer.from(Array.from({ length: random.below(64) }, () => random.below(256)));
  const [command, payload] = random.pick(
    more.length > 0 && random.once(3) ? more : random.once(5) ? states : seeds,
  );
  const flags = random.once(6) ? 0x10 : 0;
  let message = rawMessage(random.below(0x1_0000), command, payload, flags);
  for (let changes = random.pick([0, 1, 1, 1, 2, 4]); changes > 0; changes -= 1)
    message = mutate(random, message);
  return message;
}

/** A message with one thing done to it. */
export function mutate(random: Random, message: Buffer): Buffer {
  const copy = Buffer.from(message);
  // The body mostly: a header that lies about its size costs a connection.
  const at =
    copy.length > 16 && !random.once(80) ? 16 + random.below(copy.length - 16) : random.below(copy.length);
  switch (random.below(9)) {
    case 0:
      copy[at] = random.below(256);
      return copy;
    case 1:
      copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      return copy;
    case 2:
    case 3:
      if (copy.length >= 4) copy.writeUInt32LE(random.pick(edges), Math.min(at & ~3, copy.length - 4));
      return copy;
    case 4:
      if (copy.length >= 24) copy.writeBigUInt64LE(wide(random), Math.min(at & ~7, copy.length - 8));
      return copy;
    case 5:
      return resized(copy.subarray(0, 16 + random.below(copy.length)));
    case 6:
      return resized(Buffer.concat([copy, Buffer.alloc(random.pick([1, 4, 8, 300]), random.below(256))]));
    case 7: {
      const [command] = random.pick(seeds);
      if (copy.length >= 4) copy.writeUInt16LE(command, 2);
      return copy;
    }
    default: {
      const [, other] = random.pick(seeds);
      return resized(
        Buffer.concat([copy.subarray(0, Math.max(16, at)), other.subarray(random.below(other.length + 1))]),
      );
    }
  }
}

function wide(random: Random): bigint {
  return random.once(2) ? 1n << BigInt(random.below(64)) : (1n << 64n) - BigInt(1 + random.below(5000));
}

/** The header says how long the message is now. */
function resized(message: Buffer): Buffer {
  if (message.length >= 8) message.writeUInt32LE(message.length, 4);
  return message;
}
