import { expect, it } from 'vitest';
import {
  decodeMessage,
  RecordingReader,
  RecordWriter,
  recordingStart,
  TraceError,
  type TraceEvent,
} from '../../src/trace/index.ts';
import { rawMessage } from '../helpers/raw-client.ts';
import { SEED } from '../helpers/seed.ts';
import { mutate, Random, randomMessage, seeds } from '../server/fuzz-messages.ts';
import { messageEvent } from './support.ts';

const { FERRY_FUZZ_COUNT } = process.env;
const COUNT = Number(FERRY_FUZZ_COUNT ?? 20_000);
const LONGEST_PIECE = 3000;

/** A recording of every message, in both directions. */
function recording(): Buffer {
  const writer = new RecordWriter();
  const connection = { number: 1, role: 'main' } as const;
  const events: TraceEvent[] = [
    { kind: 'opened', connection, time: 1n, pid: 7 },
    ...seeds.map(([command, payload], index) =>
      messageEvent('client', rawMessage(index, command, payload), { time: 2n }),
    ),
    ...seeds.map(([command, payload], index) =>
      messageEvent('server', rawMessage(index, command, payload, 1), { time: 3n }),
    ),
    {
      kind: 'bytes',
      connection,
      time: 4n,
      from: 'client',
      bytes: Buffer.from('GET /'),
      wireSize: 5,
      fds: [],
    },
  ];
  for (const event of events) writer.add(event);
  return Buffer.concat([...recordingStart('a test', { main: '/a', control: '/b' }), writer.take()]);
}

/** One to four things done to a file: bytes changed, cut out, doubled, put in. */
function spoilt(random: Random, sound: Buffer): Buffer {
  let bytes: Buffer = Buffer.from(sound);
  for (let again = random.pick([1, 1, 2, 4]); again > 0 && bytes.length > 0; again -= 1) {
    const at = random.below(bytes.length);
    const length = random.below(64);
    const [before, rest] = [bytes.subarray(0, at), bytes.subarray(at + length)];
    const way = random.below(4);
    if (way === 0) bytes = mutate(random, bytes);
    else if (way === 1) bytes = Buffer.concat([before, rest]);
    else if (way === 2) bytes = Buffer.concat([before, bytes.subarray(at, at + length), bytes.subarray(at)]);
    else
      bytes.writeUInt32LE(
        random.pick([0, 1, 12, 0xffff, 0x7fff_ffff, 0xffff_ffff]),
        Math.min(at & ~3, Math.max(0, bytes.length - 4)),
      );
  }
  return bytes;
}

it(`takes any message apart, with seed ${SEED}`, { timeout: 60_000 + COUNT }, () => {
  const random = new Random(SEED);
  let taken = 0;
  for (let count = 0; count < COUNT; count += 1) {
    const message = randomMessage(random);
    if (message.length < 16) continue;
    if (random.once(2)) message.writeUInt32LE(random.pick([0, 1, 0x10, 0x11, 0x21]), 8);
    const decoded = decodeMessage(message, random.once(4) ? undefined : random.below(18));
    taken += decoded.name.length + decoded.errno.length + decoded.head.length + decoded.fields.length;
    taken += decoded.problems.length;
  }
  expect(taken).toBeGreaterThan(COUNT);
});

it(`reads any recording, or says where it is damaged, with seed ${SEED}`, { timeout: 60_000 + COUNT }, () => {
  const random = new Random(SEED);
  const sound = recording();
  let read = 0;
  for (let count = 0; count < COUNT / 40; count += 1) {
    const file = spoilt(random, sound);
    const reader = new RecordingReader();
    try {
      for (let at = 0; at < file.length; ) {
        const length = 1 + random.below(LONGEST_PIECE);
        read += reader.push(file.subarray(at, at + length)).length;
        at += length;
      }
      reader.end();
    } catch (error) {
      expect(error).toBeInstanceOf(TraceError);
    }
  }
  expect(read, 'much of a damaged recording is still read').toBeGreaterThan(COUNT / 40);
});
