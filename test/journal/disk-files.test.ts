import { type ChildProcess, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { DiskJournalFiles, Journals, journalDirectory } from '../../src/journal/index.ts';
import { ABORT, begin, COMMIT, DONE, GROUP, keyOf, kindsOf } from './support.ts';

const key = keyOf('sender');
let folder: string;
let directory: string;
let path: string;
let journals: Journals;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-journal-'));
  directory = join(folder, 'state', 'ferry', 'journal');
  path = join(directory, `${GROUP}-sender.journal`);
  journals = new Journals(new DiskJournalFiles(directory));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'nothing was refused',
    (error: unknown) => error,
  );

describe('a journal on disk', () => {
  it('is made with its directories, and only its owner reads it', async () => {
    const journal = await journals.begin(begin('sender'));
    expect(journal.name).toBe(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    await journal.close();
  });

  it('holds each record as soon as it is appended', async () => {
    const journal = await journals.begin(begin('sender'));
    await journal.append(COMMIT);
    expect(kindsOf((await journals.read(key)).entries)).toEqual(['BEGIN', 'COMMIT']);
    await journal.append(DONE);
    await journal.close();
    await journal.close();
    const again = await journals.open(key);
    expect(kindsOf(again.entries)).toEqual(['BEGIN', 'COMMIT', 'DONE']);
    await again.close();
  });

  it('is never written over', async () => {
    await (await journals.begin(begin('sender'))).close();
    const before = readFileSync(path);
    expect(await refusal(journals.begin(begin('sender')))).toMatchObject({ code: 'ERR_JOURNAL_EXISTS' });
    expect(readFileSync(path)).toEqual(before);
  });

  it('is no link to somewhere else', async () => {
    const target = join(folder, 'elsewhere');
    await (await journals.begin(begin('receiver'))).close();
    symlinkSync(target, path);
    expect(await refusal(journals.begin(begin('sender')))).toMatchObject({ code: 'ERR_JOURNAL_EXISTS' });
    for (const work of ['open', 'read'] as const)
      expect(await refusal(journals[work](key))).toMatchObject({ code: 'ERR_JOURNAL_ACCESS' });
    expect(existsSync(target)).toBe(false);
  });

  it('is open in one place at a time', async () => {
    const journal = await journals.begin(begin('sender'));
    expect(await refusal(journals.open(key))).toMatchObject({
      code: 'ERR_JOURNAL_BUSY',
      errno: Errno.EBUSY,
    });
    await journal.close();
    await (await journals.open(key)).close();
  });

  it('is missed by name', async () => {
    for (const work of ['open', 'read'] as const)
      expect(await refusal(journals[work](key))).toMatchObject({
        code: 'ERR_JOURNAL_MISSING',
        errno: Errno.ENOENT,
      });
  });

  it.skipIf(process.getuid?.() === 0)('says when the directory may not be used', async () => {
    await (await journals.begin(begin('receiver'))).close();
    chmodSync(directory, 0o500);
    expect(await refusal(journals.begin(begin('sender')))).toMatchObject({
      code: 'ERR_JOURNAL_ACCESS',
      errno: Errno.EACCES,
    });
    chmodSync(directory, 0o700);
  });

  it('says when its directory is a file', async () => {
    writeFileSync(join(folder, 'state'), '');
    expect(await refusal(journals.begin(begin('sender')))).toMatchObject({
      code: 'ERR_JOURNAL_ACCESS',
      errno: Errno.ENOTDIR,
    });
  });

  it('is cut where its last record was torn, and continued from there', async () => {
    const journal = await journals.begin(begin('sender'));
    await journal.append(COMMIT);
    await journal.close();
    truncateSync(path, statSync(path).size - 1);
    const again = await journals.open(key);
    expect(kindsOf(again.entries)).toEqual(['BEGIN']);
    await again.append(ABORT);
    await again.close();
    expect(await journals.read(key)).toMatchObject({ torn: 0 });
  });

  it('is left as it is when it is damaged, and can be opened by nobody', async () => {
    await (await journals.begin(begin('sender'))).close();
    appendFileSync(path, Buffer.alloc(200, 0x5a));
    const before = readFileSync(path);
    for (const work of ['open', 'read', 'open'] as const)
      expect(await refusal(journals[work](key))).toMatchObject({ code: 'ERR_JOURNAL_DAMAGED' });
    expect(readFileSync(path)).toEqual(before);
  });

  it('is refused when it is longer than any journal, before it is read', async () => {
    await (await journals.begin(begin('sender'))).close();
    truncateSync(path, 2 ** 33);
    for (const work of ['open', 'read'] as const)
      expect(await refusal(journals[work](key))).toMatchObject({ errno: Errno.EFBIG });
  });
});

describe('all journals', () => {
  it('are none before the first', async () => {
    expect(await journals.list()).toEqual([]);
  });

  it('are listed and found, damaged ones too, other files not', async () => {
    const other = 'f'.repeat(32);
    await (await journals.begin(begin('sender'))).close();
    const devices = [{ path: '/run/c.sock.control', instance: 0n }];
    await (await journals.begin(begin('receiver', { group: other, devices }))).close();
    writeFileSync(join(directory, 'notes.txt'), 'not a journal');
    writeFileSync(join(directory, `${other}-sender.journal`), Buffer.alloc(100, 1));
    const list = await journals.list();
    expect(list.map(({ group, role }) => [group.slice(0, 1), role])).toEqual([
      ['0', 'sender'],
      ['f', 'receiver'],
      ['f', 'sender'],
    ]);
    expect(list.map(({ reading }) => reading?.entries.length ?? 'unreadable')).toEqual([1, 1, 'unreadable']);
    expect(list[2]?.error).toMatchObject({ code: 'ERR_JOURNAL_DAMAGED' });
    const found = async (text: string) => (await journals.find(text)).map(({ role }) => role);
    expect(await found('0011')).toEqual(['sender']);
    expect(await found('/run/c.sock.control')).toEqual(['receiver']);
    expect(await found('/run/a.sock.control')).toEqual(['sender']);
    expect(await found('fff')).toEqual(['receiver', 'sender']);
    for (const text of ['', '1', '/run']) expect(await found(text)).toEqual([]);
  });
});

it.each([
  ['root', 0, {}, '/var/lib/ferry/journal'],
  ['root, whatever XDG says', 0, { XDG_STATE_HOME: '/x' }, '/var/lib/ferry/journal'],
  ['a user', 1000, {}, '/home/u/.local/state/ferry/journal'],
  ['a user with XDG_STATE_HOME', 1000, { XDG_STATE_HOME: '/data/state' }, '/data/state/ferry/journal'],
  ['a user with a relative one', 1000, { XDG_STATE_HOME: 'state' }, '/home/u/.local/state/ferry/journal'],
  ['a user with an empty one', 1000, { XDG_STATE_HOME: '' }, '/home/u/.local/state/ferry/journal'],
])('journals of %s are kept where they belong', (_, uid, env, expected) => {
  expect(journalDirectory({ uid, env, home: '/home/u' })).toBe(expected);
});

const program = fileURLToPath(new URL('./writer-program.js', import.meta.url));
const built = existsSync(new URL('../../dist/journal/index.js', import.meta.url));

/** A process that appends records to a journal of its own, and prints what it has made durable. */
function writer(prefix: readonly string[], ...args: string[]): ChildProcess & { lines(): string[] } {
  const command = [...prefix, process.execPath, program, directory, ...args];
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return Object.assign(child, { lines: () => text.split('\n').filter((line) => line !== '') });
}

/** Waits until it has printed so many lines. */
async function printed(child: ReturnType<typeof writer>, count: number): Promise<void> {
  while (child.lines().length < count) {
    if (child.exitCode !== null) throw new Error('the program has ended');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => child.once('close', () => resolve()));

describe.runIf(built)('a process that writes a journal', () => {
  it('is killed at any moment: what it knew to be durable is there, and no more than one record beyond', async () => {
    for (let round = 0; round < 6; round += 1) {
      const child = writer([], 'many');
      await printed(child, 3 + round * 5);
      child.kill('SIGKILL');
      await ended(child);
      const known = child.lines().length;
      const { entries } = await journals.read(key);
      expect(entries.length).toBeGreaterThanOrEqual(known);
      expect(entries.length).toBeLessThanOrEqual(known + 1);
      const again = await journals.open(key);
      await again.append({ kind: 'RECOVERED', epoch: 2n, owner: 'source', who: 'me', why: 'it was killed' });
      await again.close();
      rmSync(path);
    }
  });

  it('keeps others out as long as it lives, also while it is stopped', async () => {
    const child = writer([], 'wait');
    await printed(child, 1);
    child.kill('SIGSTOP');
    expect(await refusal(journals.open(key))).toMatchObject({ code: 'ERR_JOURNAL_BUSY' });
    child.kill('SIGKILL');
    await ended(child);
    await (await journals.open(key)).close();
  });

  it('is told when there is no room, and the record is not there', async () => {
    // A limit on the size of files, in KiB, that falls into the second record.
    const child = writer(['bash', '-c', 'ulimit -f 1; exec "$0" "$@"'], 'full');
    await ended(child);
    expect(child.lines()).toEqual(['BEGIN', 'ERR_JOURNAL_NOT_DURABLE EFBIG withdrawn=true']);
    expect(statSync(path).size).toBeLessThan(1024);
    expect(kindsOf((await journals.read(key)).entries)).toEqual(['BEGIN']);
  });
});
