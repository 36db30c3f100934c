import { createReadStream } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { Errno, FerryError } from '../errors/index.ts';
import {
  DiskJournalFiles,
  type JournalKey,
  type JournalReading,
  type JournalRole,
  Journals,
  type KeptJournal,
  readJournal,
} from '../journal/index.ts';
import { journalsIn } from './journal-options.ts';

/** The journals of one migration that are here. */
export interface Found {
  readonly journals: Journals;
  readonly group: string;
  readonly roles: readonly JournalRole[];
}

const NAME = /^([0-9a-f]{32})-(sender|receiver)\.journal$/;
/** No journal is longer. */
const MAX_JOURNAL = 16 * 1024 * 1024;

/**
 * Finds the journals of the migration that somebody means: by a file, the beginning of its name, or a device of it;
 * without that, of the only one that has not ended. Rejects with FerryError.
 */
export async function findJournals(which: string | undefined, directory: string | undefined): Promise<Found> {
  const file = which === undefined ? null : NAME.exec(basename(which));
  if (which !== undefined && file !== null) {
    const journals = new Journals(new DiskJournalFiles(dirname(resolve(which))));
    const role = file[2] === 'sender' ? 'sender' : 'receiver';
    return { journals, group: file[1] ?? '', roles: [role] };
  }
  const journals = journalsIn(directory);
  const found = which === undefined ? (await journals.list()).filter(isOpen) : await named(journals, which);
  const groups = [...new Set(found.map(({ group }) => group))];
  const [group] = groups;
  if (group === undefined) throw nothing(which, journals);
  if (groups.length > 1) throw several(found);
  const kept = (await journals.list()).filter((each) => each.group === group);
  return { journals, group, roles: kept.map(({ role }) => role) };
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

function nothing(which: string | undefined, { name }: Journals): FerryError {
  const what = which === undefined ? 'no migration that has not ended' : `no journal of ${which}`;
  return new FerryError('ERR_JOURNAL_MISSING', `there is ${what} in ${name}`, {
    errno: Errno.ENOENT,
    context: { directory: name },
  });
}

function several(found: readonly KeptJournal[]): FerryError {
  const names = [...new Set(found.map(({ group }) => group))];
  const message = `${names.length} migrations are meant: ${names.join(', ')}. Name one of them`;
  return new FerryError('ERR_USAGE', message, { errno: Errno.EINVAL, context: { groups: names.join(', ') } });
}
