import { FerryError } from '../errors/index.ts';
import type { Journal } from './journal.ts';
import type { JournalFiles, JournalKey } from './journal-file.ts';
import { type JournalReading, readJournal } from './reader.ts';
import type { BeginRecord } from './record.ts';
import { StoredJournal } from './stored-journal.ts';

/** One of the journals that are kept: what it holds, or why that can't be told. */
export interface KeptJournal extends JournalKey {
  readonly reading: JournalReading | null;
  readonly error: FerryError | null;
}

/** All journals in one place. */
export class Journals {
  readonly #files: JournalFiles;
  readonly #now: () => number;

  /** `now` tells the time of records, in milliseconds since 1970. */
  constructor(files: JournalFiles, now: () => number = Date.now) {
    this.#files = files;
    this.#now = now;
  }

  /** For people: the directory. */
  get name(): string {
    return this.#files.name;
  }

  /** Makes a journal and begins it. Rejects with JournalError, NotDurableError. */
  async begin(record: BeginRecord): Promise<Journal> {
    const { group, role } = record;
    const key = { group, role };
    const journal = await StoredJournal.continue(await this.#files.create(key), key, this.#now);
    try {
      await journal.append(record);
      return journal;
    } catch (error) {
      await journal.close();
      throw error;
    }
  }

  /** Opens one to continue it. Rejects with JournalError, DamagedJournalError. */
  async open(key: JournalKey): Promise<Journal> {
    return StoredJournal.continue(await this.#files.open(key), key, this.#now);
  }

  /** Reads one, open elsewhere or not. Rejects with JournalError, DamagedJournalError. */
  async read(key: JournalKey): Promise<JournalReading> {
    return readJournal(await this.#files.read(key), key);
  }

  /** All of them. */
  async list(): Promise<readonly KeptJournal[]> {
    const keys = await this.#files.list();
    return Promise.all(keys.map((key) => this.#kept(key)));
  }

  /** Those of the group whose id begins with `text`, and those of which one device has the path `text`. */
  async find(text: string): Promise<readonly KeptJournal[]> {
    return (await this.list()).filter(
      (one) => (text !== '' && one.group.startsWith(text)) || devicesOf(one).includes(text),
    );
  }

  /**
   * Removes journals whose last record, DONE or ABORT, was written more than `ageMs` milliseconds ago: nothing is left to
   * do there. Those that have not ended, can't be read or are in use stay. Returns how many were removed.
   */
  async prune(ageMs: number): Promise<number> {
    const before = this.#now() - ageMs;
    const old = (await this.list()).filter(({ reading }) => endedBefore(reading, before));
    const removed = await Promise.allSettled(old.map((key) => this.#files.remove(key)));
    return removed.filter(({ status }) => status === 'fulfilled').length;
  }

  async #kept({ group, role }: JournalKey): Promise<KeptJournal> {
    try {
      return { group, role, reading: await this.read({ group, role }), error: null };
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      return { group, role, reading: null, error };
    }
  }
}

function endedBefore(reading: JournalReading | null, ms: number): boolean {
  const last = reading?.entries.at(-1);
  const hasEnded = last?.record.kind === 'DONE' || last?.record.kind === 'ABORT';
  return hasEnded && last.atMs < ms;
}

function devicesOf({ reading }: KeptJournal): readonly string[] {
  const begin = reading?.entries[0]?.record;
  return begin?.kind === 'BEGIN' ? begin.devices.map(({ path }) => path) : [];
}
