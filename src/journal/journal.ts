import type { JournalEntry, JournalRecord, JournalRole } from './record.ts';

/** What one side of one migration has durably decided. One process at a time has it open. */
export interface Journal {
  /** The group that moves: 32 hex digits. */
  readonly group: string;
  readonly role: JournalRole;
  /** The file, for people; a made-up name for one in memory. */
  readonly name: string;
  /** What it holds, in order; what was appended is in it as soon as it is durable. */
  readonly entries: readonly JournalEntry[];
  /**
   * Resolves when the record is durable. One at a time, in an order that `mayFollow` allows; the journal closes
   * for writing after a record that is neither durable nor withdrawn.
   * Rejects with NotDurableError, or with JournalError ERR_JOURNAL_ORDER, ERR_JOURNAL_RECORD, ERR_JOURNAL_CLOSED.
   */
  append(record: JournalRecord): Promise<void>;
  /** Gives up the lock. Idempotent. */
  close(): Promise<void>;
}
