import type { JournalRole } from './record.ts';

/** A file that one process at a time appends to. Every method may reject with what the operating system says. */
export interface JournalFile {
  /** For people. */
  readonly name: string;
  /** All of it. */
  read(): Promise<Uint8Array>;
  /** Writes at the end; when it rejects, a part may have been written. */
  write(bytes: Uint8Array): Promise<void>;
  /** What was written, or cut off, survives a crash of the machine when this resolves. */
  sync(): Promise<void>;
  /** Cuts it off after `length` bytes. */
  truncate(length: number): Promise<void>;
  /** Gives up the lock. Idempotent. */
  close(): Promise<void>;
}

/** Which journal: one for each side of a migration. */
export interface JournalKey {
  /** 32 hex digits. */
  readonly group: string;
  readonly role: JournalRole;
}

/** Where journals are kept. */
export interface JournalFiles {
  /** For people: the directory. */
  readonly name: string;
  /** A new, locked, empty one whose existence survives a crash. Rejects with JournalError ERR_JOURNAL_EXISTS, _ACCESS. */
  create(key: JournalKey): Promise<JournalFile>;
  /** One that is there, locked. Rejects with JournalError ERR_JOURNAL_MISSING, _BUSY, _ACCESS. */
  open(key: JournalKey): Promise<JournalFile>;
  /** The bytes of one, locked or not. Rejects with JournalError ERR_JOURNAL_MISSING, _ACCESS. */
  read(key: JournalKey): Promise<Uint8Array>;
  /** Removes one that nobody has open. Rejects with JournalError ERR_JOURNAL_MISSING, _BUSY, _ACCESS. */
  remove(key: JournalKey): Promise<void>;
  /** All that are there. Rejects with JournalError ERR_JOURNAL_ACCESS. */
  list(): Promise<readonly JournalKey[]>;
}
