import { JournalError } from './journal-error.ts';
import { FOLLOWING, positionOf } from './legality.ts';
import type { JournalEntry, JournalRole } from './record.ts';

/** A journal is not as it was written, and not just cut off at the end. */
export class DamagedJournalError extends JournalError {
  /** The byte at which it is damaged. */
  readonly offset: number;
  /** What stands before the damage. A decision may follow, so that they alone decide nothing. */
  readonly entriesBefore: readonly JournalEntry[];

  constructor(why: string, offset: number, role: JournalRole, entriesBefore: readonly JournalEntry[]) {
    const lost = FOLLOWING[role][positionOf(role, entriesBefore)];
    const kinds = entriesBefore.map(({ record }) => record.kind);
    const kept = kinds.length === 0 ? 'Nothing before it can be read' : `Before it: ${kinds.join(', ')}`;
    super(
      'ERR_JOURNAL_DAMAGED',
      `the journal is damaged at byte ${offset}: ${why}. ${kept}. What may be lost: ${lost.join(', ')}, ` +
        "and what followed. Restore the file, or use the other side's journal",
      { byte: offset, records: kinds.length },
    );
    this.offset = offset;
    this.entriesBefore = entriesBefore;
  }
}
