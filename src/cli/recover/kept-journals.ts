import { createReadStream } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { Errno, FerryError } from '../../errors/index.ts';
import {
  DiskJournalFiles,
  type JournalKey,
  type JournalReading,
  type JournalRole,
  Journals,
  type KeptJournal,
  readJournal,
} from '../../journal/index.ts';
import { UsageError } from '../outcome/usage-error.ts';

/** The journals of one migration that are here. */
export interface Found {
  readonly journals: Journals;
  readonly group: string;
  readonly roles: readonly JournalRole[];
  /** Those that were meant: of one side when its file or one of its devices was named. */
  readonly meant: readonly JournalRole[];
}

const NAME = /^([0-9a-f]{32})-(sender|receiver)\.journal$/;
/** No journal is longer. */
const MAX_JOURNAL = 16 * 1024 * 1024;

/**
 * Finds the journals of the migration that somebody means: by a file, the beginning of its name, or a device of it;
 * without that, of the only one that has not ended, and null when all have. Rejects with FerryError.
 */
export async function findJournals(which: string | undefined, journals: Journals): Promise<Found | null> {
  if (which !== undefined && NAME.test(basename(which))) return byFile(resolve(which));
  const all = await journals.list();
  const found = which === undefined ? all.filter(isOpen) : await named(journals, which);
  const groups = [...new Set(found.map(({ group }) => group))];
  const [group] = groups;
  if (group === undefined) {
    if (which === undefined) return null;
    throw missing(which, journals);
  }
  if (groups.length > 1) throw several(groups);
  const meant = which === undefined ? all : found;
  return { journals, group, roles: rolesOf(all, group), meant: rolesOf(meant, group) };
}

async function byFile(path: string): Promise<Found> {
  const journals = new Journals(new DiskJournalFiles(dirname(path)));
  const [, group = '', role] = NAME.exec(basename(path)) ?? [];
  const meant = [role === 'sender' ? 'sender' : 'receiver'] as const;
  return { journals, group, roles: rolesOf(await journals.list(), group), meant };
}

function rolesOf(kept: readonly KeptJournal[], group: string): readonly JournalRole[] {
  return kept.filter((each) => each.group === group).map(({ role }) => role);
}

/** A device has been in many migrations: the one that has not ended is meant. */
async function named(journals: Journals, which: string): Promise<readonly KeptJournal[]> {
  const found = [
    ...(await journals.find(which)),
    ...(await journals.find(resolve(which))),
    ...(await journals.find(`${resolve(which)}.control`)),
  ];
  const open = found.filter(isOpen);
  return open.length > 0 ? open : found;
}

/** It has not ended, or that can't be told. */
function isOpen({ reading }: KeptJournal): boolean {
  const last = reading?.entries.at(-1)?.record.kind;
  return last !== 'DONE' && last !== 'ABORT';
}

/** Reads the other side's journal, wherever it is. Rejects with FerryError. */
export async function readPeer(path: string, key: JournalKey): Promise<JournalReading> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of createReadStream(path)) {
      const bytes = Buffer.isBuffer(piece) ? piece : Buffer.from(String(piece));
      size += bytes.length;
      if (size > MAX_JOURNAL) throw unusable(path, 'it is too long for a journal');
      pieces.push(bytes);
    }
  } catch (error) {
    throw error instanceof FerryError ? error : unusable(path, String(error));
  }
  return readJournal(Buffer.concat(pieces), key);
}

function unusable(path: string, why: string): FerryError {
  return new FerryError('ERR_INPUT', `${path} can't be read: ${why}`, {
    errno: Errno.EIO,
    context: { path },
  });
}

function missing(which: string, { name }: Journals): FerryError {
  return new FerryError('ERR_JOURNAL_MISSING', `there is no journal of ${which} in ${name}`, {
    errno: Errno.ENOENT,
    context: { directory: name },
  });
}

function several(groups: readonly string[]): UsageError {
  return new UsageError(`${groups.length} migrations are meant: ${groups.join(', ')}. Name one of them`);
}
