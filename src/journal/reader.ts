import { DamagedJournalError } from './damaged-journal-error.ts';
import { JournalError } from './journal-error.ts';
import type { JournalKey } from './journal-file.ts';
import { VERSION } from './layout.ts';
import { mayFollow } from './legality.ts';
import type { JournalEntry } from './record.ts';
import { type Decoded, decodeRecord } from './record-codec.ts';

/** What a journal holds. */
export interface JournalReading {
  readonly entries: readonly JournalEntry[];
  /** Bytes of the entries. */
  readonly length: number;
  /** Bytes after them: a record that was being written when the machine or the process died. Nobody relied on it. */
  readonly torn: number;
}

/**
 * Reads the journal `key` from its bytes. A record at the end that was cut off doesn't count; anything else that is not
 * as it was written is an error, because a decision may have stood there.
 * @throws DamagedJournalError; JournalError ERR_JOURNAL_VERSION
 */
export function readJournal(bytes: Uint8Array, key: JournalKey): JournalReading {
  const entries: JournalEntry[] = [];
  let at = 0;
  while (at < bytes.length) {
    const decoded = decodeRecord(bytes.subarray(at));
    if (decoded.is === 'torn') break;
    const entry = accept(decoded, key, entries, at);
    entries.push(entry.entry);
    at += entry.size;
  }
  return { entries, length: at, torn: bytes.length - at };
}

function accept(
  decoded: Exclude<Decoded, { is: 'torn' }>,
  key: JournalKey,
  entries: readonly JournalEntry[],
  at: number,
): Extract<Decoded, { is: 'record' }> {
  if (decoded.is === 'of another version') {
    const use = decoded.version > VERSION ? 'a newer one' : 'the one that wrote it';
    const message = `the journal is of version ${decoded.version}, which this program can't read; use ${use}`;
    throw new JournalError('ERR_JOURNAL_VERSION', message, { version: decoded.version, byte: at });
  }
  const why = decoded.is === 'damaged' ? decoded.why : misplaced(decoded, key, entries);
  if (decoded.is === 'damaged' || why !== null) {
    throw new DamagedJournalError(why ?? '', at, key.role, entries);
  }
  return decoded;
}

/** Why a record that is whole does not belong where it stands; null when it does. */
function misplaced(
  { entry, key }: Extract<Decoded, { is: 'record' }>,
  wanted: JournalKey,
  entries: readonly JournalEntry[],
): string | null {
  if (key.group !== wanted.group || key.role !== wanted.role) return 'a record belongs to another journal';
  if (entry.sequence !== entries.length)
    return `record ${entry.sequence} stands where ${entries.length} should be`;
  return mayFollow(wanted.role, entries, entry.record);
}
