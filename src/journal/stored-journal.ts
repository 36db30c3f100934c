import type { Journal } from './journal.ts';
import { JournalError, NotDurableError } from './journal-error.ts';
import type { JournalFile, JournalKey } from './journal-file.ts';
import { mayFollow } from './legality.ts';
import { readJournal } from './reader.ts';
import type { JournalEntry, JournalRecord, JournalRole } from './record.ts';
import { encodeRecord } from './record-codec.ts';

/** A journal in a file, whatever kind of file that is. */
export class StoredJournal implements Journal {
  readonly group: string;
  readonly role: JournalRole;
  readonly #file: JournalFile;
  readonly #now: () => number;
  readonly #entries: JournalEntry[];
  #length: number;
  #open = true;
  #busy = false;

  private constructor(file: JournalFile, key: JournalKey, now: () => number) {
    this.group = key.group;
    this.role = key.role;
    this.#file = file;
    this.#now = now;
    this.#entries = [];
    this.#length = 0;
  }

  /** Continues a locked file, new or not: what was cut off at its end is removed. The file is this journal's from now on. */
  static async continue(file: JournalFile, key: JournalKey, now: () => number): Promise<StoredJournal> {
    const journal = new StoredJournal(file, key, now);
    try {
      await journal.#load();
      return journal;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get name(): string {
    return this.#file.name;
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  async append(record: JournalRecord): Promise<void> {
    if (!this.#open) throw new JournalError('ERR_JOURNAL_CLOSED', `${this.name} has been closed`);
    if (this.#busy) throw new JournalError('ERR_JOURNAL_ORDER', 'a record is still being written');
    const why = mayFollow(this.role, this.#entries, record);
    if (why !== null) throw new JournalError('ERR_JOURNAL_ORDER', why, { kind: record.kind });
    const entry = { sequence: this.#entries.length, atMs: this.#now(), record };
    const bytes = encodeRecord(entry, this);
    this.#busy = true;
    try {
      await this.#write(bytes, record.kind);
    } finally {
      this.#busy = false;
    }
    this.#length += bytes.length;
    this.#entries.push(entry);
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#file.close();
  }

  async #load(): Promise<void> {
    const { entries, length, torn } = readJournal(await this.#file.read(), this);
    this.#entries.push(...entries);
    this.#length = length;
    if (torn === 0) return;
    await this.#file.truncate(length);
    await this.#file.sync();
  }

  async #write(bytes: Uint8Array, kind: string): Promise<void> {
    try {
      await this.#file.write(bytes);
      await this.#file.sync();
    } catch (cause) {
      const withdrawn = await this.#withdraw();
      this.#open &&= withdrawn;
      throw new NotDurableError(kind, withdrawn, cause);
    }
  }

  /** Takes back what was written of a record; whether that is certain. */
  async #withdraw(): Promise<boolean> {
    try {
      await this.#file.truncate(this.#length);
      await this.#file.sync();
      return true;
    } catch {
      return false;
    }
  }
}
