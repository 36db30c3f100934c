import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  DiskJournalFiles,
  type JournalFiles,
  type JournalRecord,
  Journals,
  MemoryJournalFiles,
} from '../../src/journal/index.ts';
import { ABORT, begin, COMMIT, DONE, READY } from './support.ts';

const DAY = 86_400_000;
const groupOf = (digit: string): string => digit.repeat(32);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-prune-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const places: readonly (readonly [string, () => JournalFiles])[] = [
  ['in memory', () => new MemoryJournalFiles()],
  ['on disk', () => new DiskJournalFiles(folder)],
];

describe.each(places)('old journals %s', (_, make) => {
  it('go when they have ended long enough ago, and only then', async () => {
    const files = make();
    const write = async (group: string, day: number, ...records: readonly JournalRecord[]) => {
      const role = records.includes(READY) ? 'receiver' : 'sender';
      const journal = await new Journals(files, () => day * DAY).begin(begin(role, { group }));
      for (const record of records) await journal.append(record);
      return journal;
    };
    await (await write(groupOf('a'), 1, COMMIT, DONE)).close();
    await (await write(groupOf('b'), 1, ABORT)).close();
    await (await write(groupOf('c'), 40, COMMIT, DONE)).close();
    await (await write(groupOf('d'), 1, COMMIT)).close();
    await (await write(groupOf('e'), 1, READY)).close();
    const open = await write(groupOf('f'), 1, ABORT);
    const journals = new Journals(files, () => 41 * DAY);
    expect(await journals.prune(30 * DAY)).toBe(2);
    const left = (await journals.list()).map(({ group }) => group.slice(0, 1));
    expect(left).toEqual(['c', 'd', 'e', 'f']);
    await open.close();
    expect(await journals.prune(30 * DAY)).toBe(1);
  });
});

it('a directory that is not there has nothing to remove', async () => {
  expect(await new Journals(new DiskJournalFiles(join(folder, 'none'))).prune(0)).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
});
