import { expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import {
  type Fault,
  type FaultPlan,
  Journals,
  MemoryJournalFiles,
  type NotDurableError,
} from '../../src/journal/index.ts';
import { ABORT, begin, COMMIT, DONE, keyOf, kindsOf, READY, RUN } from './support.ts';

const key = keyOf('sender');

const failure = async (work: Promise<unknown>): Promise<NotDurableError> => {
  try {
    await work;
  } catch (error) {
    return error as NotDurableError;
  }
  throw new Error('it went well');
};

it('holds what was appended, also for the next who opens it', async () => {
  const journals = new Journals(new MemoryJournalFiles(), () => 1234);
  const journal = await journals.begin(begin('sender'));
  await journal.append(COMMIT);
  expect(kindsOf(journal.entries)).toEqual(['BEGIN', 'COMMIT']);
  await journal.close();
  const again = await journals.open(key);
  await again.append(DONE);
  expect(again.entries).toEqual([
    { sequence: 0, atMs: 1234, record: begin('sender') },
    { sequence: 1, atMs: 1234, record: COMMIT },
    { sequence: 2, atMs: 1234, record: DONE },
  ]);
  expect((await journals.read(key)).entries).toEqual(again.entries);
});

it('refuses what may not follow, writes nothing, and goes on', async () => {
  const journals = new Journals(new MemoryJournalFiles());
  const journal = await journals.begin(begin('sender'));
  for (const record of [READY, RUN, DONE, begin('sender')])
    expect(await failure(journal.append(record))).toMatchObject({ code: 'ERR_JOURNAL_ORDER' });
  await journal.append(COMMIT);
  expect(kindsOf((await journals.read(key)).entries)).toEqual(['BEGIN', 'COMMIT']);
});

it('takes one record at a time', async () => {
  const journal = await new Journals(new MemoryJournalFiles()).begin(begin('sender'));
  const first = journal.append(COMMIT);
  expect(await failure(journal.append(DONE))).toMatchObject({ code: 'ERR_JOURNAL_ORDER' });
  await first;
  await journal.append(DONE);
  expect(kindsOf(journal.entries)).toEqual(['BEGIN', 'COMMIT', 'DONE']);
});

it('is open in one place at a time', async () => {
  const journals = new Journals(new MemoryJournalFiles());
  const journal = await journals.begin(begin('sender'));
  expect(await failure(journals.open(key))).toMatchObject({ code: 'ERR_JOURNAL_BUSY', errno: Errno.EBUSY });
  expect(await failure(journals.begin(begin('sender')))).toMatchObject({ code: 'ERR_JOURNAL_EXISTS' });
  await journal.close();
  expect(await failure(journal.append(COMMIT))).toMatchObject({ code: 'ERR_JOURNAL_CLOSED' });
  await (await journals.open(key)).close();
});

const { ENOSPC, EIO } = Errno;
const full: readonly (readonly [string, 'write' | 'sync', Fault])[] = [
  ['a full disk', 'write', { errno: ENOSPC }],
  ['a disk that fills up within the record', 'write', { errno: ENOSPC, written: 20 }],
  ['a broken disk, found when the record is synced', 'sync', { errno: EIO }],
];

it.each(full)('%s: the record is not durable, and certainly not there', async (_, operation, fault) => {
  const files = new MemoryJournalFiles((what, count) => (what === operation && count === 1 ? fault : null));
  const journals = new Journals(files);
  const journal = await journals.begin(begin('sender'));
  const error = await failure(journal.append(COMMIT));
  expect(error).toMatchObject({ code: 'ERR_JOURNAL_NOT_DURABLE', errno: fault.errno, withdrawn: true });
  expect(kindsOf(journal.entries)).toEqual(['BEGIN']);
  await journal.append(ABORT);
  files.crash(key);
  expect(kindsOf((await journals.read(key)).entries)).toEqual(['BEGIN', 'ABORT']);
});

const hopeless: readonly (readonly [string, FaultPlan])[] = [
  ['cutting it off fails', (what) => (what === 'truncate' ? { errno: EIO } : null)],
  ['nothing can be synced any more', () => null],
];

it.each(hopeless)('says when a record could not be taken back either: %s', async (_, more) => {
  const files = new MemoryJournalFiles((what, count, of) =>
    what === 'sync' && count > 0 ? { errno: EIO } : more(what, count, of),
  );
  const journals = new Journals(files);
  const journal = await journals.begin(begin('sender'));
  const error = await failure(journal.append(COMMIT));
  expect(error).toMatchObject({ code: 'ERR_JOURNAL_NOT_DURABLE', withdrawn: false });
  expect(error.message).toContain('uncertain');
  expect(await failure(journal.append(ABORT)), 'and takes no more').toMatchObject({
    code: 'ERR_JOURNAL_CLOSED',
  });
});

it('is cut where a crash has torn its last record, and continued from there', async () => {
  for (const kept of [1, 30, 55]) {
    const files = new MemoryJournalFiles();
    const journals = new Journals(files);
    const journal = await journals.begin(begin('sender'));
    const pending = failure(journal.append(COMMIT));
    files.crash(key, kept);
    expect(await pending).toMatchObject({ withdrawn: false });
    expect(await journals.read(key)).toMatchObject({ torn: kept });
    const again = await journals.open(key);
    expect(kindsOf(again.entries)).toEqual(['BEGIN']);
    await again.append(ABORT);
    expect(await journals.read(key)).toMatchObject({ torn: 0 });
    expect(kindsOf((await journals.read(key)).entries)).toEqual(['BEGIN', 'ABORT']);
  }
});

it('keeps what was appended when its process dies or the machine crashes', async () => {
  for (const end of ['die', 'crash'] as const) {
    const files = new MemoryJournalFiles();
    const journals = new Journals(files);
    const journal = await journals.begin(begin('sender'));
    await journal.append(COMMIT);
    files[end](key);
    expect(await failure(journal.append(DONE))).toMatchObject({ code: 'ERR_JOURNAL_NOT_DURABLE' });
    expect(kindsOf((await journals.open(key)).entries)).toEqual(['BEGIN', 'COMMIT']);
  }
});
