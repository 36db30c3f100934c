import { beforeAll, describe, expect, it } from 'vitest';
import {
  DamagedJournalError,
  FOLLOWING,
  type JournalEntry,
  JournalError,
  type JournalRecord,
  type JournalRole,
  Journals,
  MemoryJournalFiles,
  mayFollow,
  type Position,
  readJournal,
} from '../../src/journal/index.ts';
import { ABORT, begin, COMMIT, DONE, forced, GROUP, keyOf, kindsOf, READY, RUN } from './support.ts';

const PAUSED = [
  { path: '/run/a.sock.control', instance: 7n, paused: true },
  { path: '/run/b.sock.control', instance: 8n },
];
const WITHHELD: JournalRecord = {
  kind: 'READY',
  epoch: 1n,
  withheld: [
    { device: 0, actions: 1, configuration: Uint8Array.from({ length: 64 }, (_, i) => i) },
    { device: 255, actions: 3, configuration: new Uint8Array(16) },
  ],
};

const histories: readonly (readonly [JournalRole, readonly JournalRecord[]])[] = [
  ['sender', [begin('sender', { peer: 'tls://b.example:4711 — ü' }), COMMIT, DONE]],
  ['receiver', [begin('receiver', { devices: [] }), READY, RUN, DONE]],
  ['receiver', [begin('receiver', { devices: PAUSED }), WITHHELD, RUN]],
  ['sender', [begin('sender', { plan: Uint8Array.of(0, 1, 255) }), COMMIT, DONE]],
  ['sender', [begin('sender'), ABORT, { ...forced('destination'), epoch: (1n << 64n) - 1n }]],
];

/** A journal's bytes, and where each of its records ends. */
async function written(role: JournalRole, records: readonly JournalRecord[]) {
  const files = new MemoryJournalFiles();
  const journals = new Journals(files, () => 1_700_000_000_000);
  const [first, ...rest] = records;
  if (first?.kind !== 'BEGIN') throw new Error('a journal begins with BEGIN');
  const journal = await journals.begin(first);
  const ends = [(await files.read(keyOf(role))).length];
  for (const record of rest) {
    await journal.append(record);
    ends.push((await files.read(keyOf(role))).length);
  }
  return { bytes: await files.read(keyOf(role)), ends, entries: [...journal.entries] };
}

describe.each(histories)('a journal of a %s', (role, records) => {
  let bytes: Uint8Array;
  let ends: readonly number[];
  let entries: readonly JournalEntry[];
  beforeAll(async () => {
    ({ bytes, ends, entries } = await written(role, records));
  });

  it('is read as it was written', () => {
    expect(entries.map(({ record }) => record)).toEqual(records);
    expect(readJournal(bytes, keyOf(role))).toEqual({ entries, length: bytes.length, torn: 0 });
  });

  it('cut off at any byte, holds the records before', () => {
    for (let length = 0; length <= bytes.length; length += 1) {
      const reading = readJournal(bytes.subarray(0, length), keyOf(role));
      const whole = ends.filter((end) => end <= length);
      expect(reading.entries).toEqual(entries.slice(0, whole.length));
      expect(reading.length).toBe(whole.at(-1) ?? 0);
      expect(reading.torn).toBe(length - reading.length);
    }
  });

  it('cut off at any byte and filled up with zeros, as some file systems do, too', () => {
    for (const zeros of [1, 56, 4096]) {
      const reading = readJournal(Buffer.concat([bytes, Buffer.alloc(zeros)]), keyOf(role));
      expect(reading).toMatchObject({ length: bytes.length, torn: zeros });
    }
  });

  it('with any byte changed, is refused, or is cut before it, and says where', () => {
    for (let at = 0; at < bytes.length; at += 1) {
      for (const change of [0x01, 0x80, 0xff]) {
        const damaged = Uint8Array.from(bytes);
        damaged[at] = (damaged[at] ?? 0) ^ change;
        const start = ends.filter((end) => end <= at).at(-1) ?? 0;
        const error = errorOf(() => readJournal(damaged, keyOf(role)));
        expect(error, `byte ${at}`).toBeInstanceOf(DamagedJournalError);
        if (!(error instanceof DamagedJournalError)) return;
        expect(error.offset).toBe(start);
        expect(error.entriesBefore).toEqual(entries.slice(0, ends.filter((end) => end <= at).length));
        expect(error.message).toContain('What may be lost:');
      }
    }
  });

  it('of another group or role is refused', () => {
    const other = role === 'sender' ? 'receiver' : 'sender';
    for (const key of [keyOf(other), { group: 'e'.repeat(32), role }])
      expect(errorOf(() => readJournal(bytes, key))).toMatchObject({ code: 'ERR_JOURNAL_DAMAGED' });
  });

  it('with records that are missing, repeated or moved is refused', () => {
    const pieces = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
    const [first, second, third] = pieces;
    if (first === undefined || second === undefined || third === undefined) throw new Error('too short');
    for (const wrong of [
      [second],
      [first, third],
      [first, first],
      [first, second, second],
      [first, third, second],
    ])
      expect(errorOf(() => readJournal(Buffer.concat(wrong), keyOf(role)))).toMatchObject({
        code: 'ERR_JOURNAL_DAMAGED',
      });
  });
});

it('what a damaged journal may have lost is said: a COMMIT after BEGIN', async () => {
  const { bytes, ends } = await written('sender', [begin('sender'), COMMIT]);
  const damaged = Uint8Array.from(bytes);
  damaged[ends[0] ?? 0] = 0;
  expect(errorOf(() => readJournal(damaged, keyOf('sender')))).toMatchObject({
    message: expect.stringMatching(
      /at byte \d+.*Before it: BEGIN\. What may be lost: COMMIT, ABORT, RECOVERED/,
    ),
  });
});

it('a journal of a version to come is refused as such', async () => {
  const { bytes } = await written('sender', [begin('sender')]);
  const { crc32 } = await import('node:zlib');
  const newer = Buffer.from(bytes);
  newer.writeUInt16LE(3, 4);
  newer.writeUInt32LE(crc32(newer.subarray(0, 52)), 52);
  expect(errorOf(() => readJournal(newer, keyOf('sender')))).toMatchObject({
    code: 'ERR_JOURNAL_VERSION',
    message: expect.stringContaining('a newer one'),
  });
});

describe('what can not be written', () => {
  const tooMuch: readonly (readonly [string, Partial<ReturnType<typeof begin>>])[] = [
    ['a name that is too long', { peer: 'x'.repeat(4097) }],
    ['too many devices', { devices: Array.from({ length: 257 }, () => ({ path: 'a', instance: 0n })) }],
    ['a path that is too long', { devices: [{ path: 'ü'.repeat(2049), instance: 0n }] }],
    ['a token that is none', { token: 'secret' }],
    ['a group that is none', { group: GROUP.toUpperCase() }],
  ];

  it.each(tooMuch)('%s', async (_, changes) => {
    const journals = new Journals(new MemoryJournalFiles());
    await expect(journals.begin(begin('sender', changes))).rejects.toMatchObject({
      code: 'ERR_JOURNAL_RECORD',
    });
  });

  it('what just fits can', async () => {
    const devices = Array.from({ length: 256 }, () => ({
      path: 'x'.repeat(4096),
      instance: (1n << 64n) - 1n,
    }));
    const record = begin('sender', { devices, peer: 'x'.repeat(4096) });
    const { bytes } = await written('sender', [record]);
    expect(readJournal(bytes, keyOf('sender')).entries[0]?.record).toEqual(record);
  });
});

describe('which record may follow', () => {
  const positions: Readonly<Record<Position, readonly JournalRecord[]>> = {
    START: [],
    BEGIN: [begin('sender')],
    READY: [READY],
    COMMIT: [COMMIT],
    RUN: [RUN],
    DONE: [DONE],
    ABORT: [ABORT],
    'FORCED HERE': [],
    'FORCED THERE': [],
  };
  const every = [READY, COMMIT, RUN, DONE, ABORT, forced('source')];
  const entry = (record: JournalRecord): JournalEntry => ({ sequence: 0, atMs: 0, record });
  const before = (role: JournalRole, position: Position): JournalEntry[] => {
    const here = role === 'sender' ? 'source' : 'destination';
    const there = role === 'sender' ? 'destination' : 'source';
    if (position === 'FORCED HERE') return [entry(forced(here))];
    if (position === 'FORCED THERE') return [entry(forced(there))];
    return positions[position].map(entry);
  };

  it.each(['sender', 'receiver'] as const)('in the journal of a %s is what the table says', (role) => {
    for (const position of Object.keys(positions) as Position[]) {
      const records = [begin(role, { epoch: 9n }), ...every.map((one) => ({ ...one, epoch: 9n }))];
      const allowed = records.filter((record) => mayFollow(role, before(role, position), record) === null);
      expect(kindsOf(allowed.map(entry)).toSorted(), position).toEqual(FOLLOWING[role][position].toSorted());
    }
  });

  it('never goes back to an epoch that is over, nor to another role', () => {
    const entries = [entry(begin('sender', { epoch: 3n }))];
    expect(mayFollow('sender', entries, { ...COMMIT, epoch: 2n })).toContain('epoch 2 is over');
    expect(mayFollow('sender', entries, { ...COMMIT, epoch: 3n })).toBeNull();
    expect(mayFollow('sender', [], begin('receiver'))).toContain('receiver');
  });

  it('decides once: neither COMMIT and then ABORT, nor the other way round, nor RUN without READY', () => {
    expect(FOLLOWING.sender.COMMIT).not.toContain('ABORT');
    expect(FOLLOWING.sender.ABORT).not.toContain('COMMIT');
    expect(FOLLOWING.receiver.BEGIN).not.toContain('RUN');
    expect(FOLLOWING.receiver.RUN).not.toContain('ABORT');
  });
});

function errorOf(work: () => unknown): JournalError | null {
  try {
    work();
    return null;
  } catch (error) {
    if (error instanceof JournalError) return error;
    throw error;
  }
}
