export { DamagedJournalError } from './damaged-journal-error.ts';
export { journalDirectory, type Surroundings } from './directory.ts';
export { DiskJournalFiles } from './disk-files.ts';
export type { Journal } from './journal.ts';
export { JournalError, type JournalErrorCode, NotDurableError } from './journal-error.ts';
export type { JournalFile, JournalFiles, JournalKey } from './journal-file.ts';
export { Journals, type KeptJournal } from './journals.ts';
export { FOLLOWING, mayFollow, type Position, positionOf, SIDE } from './legality.ts';
export { type Fault, type FaultPlan, type FileOperation, MemoryJournalFiles } from './memory-files.ts';
export { type Journaled, type Owner, type OwnerReason, ownerOf, STANCES, type Stance } from './owner.ts';
export { type JournalReading, readJournal } from './reader.ts';
export type {
  BeginRecord,
  JournalDevice,
  JournalEntry,
  JournalRecord,
  JournalRole,
  OwningSide,
  RecordKind,
  WithheldConfiguration,
} from './record.ts';
export type { DeviceCondition, RecoveryAction, Situation } from './recovery-actions.ts';
export { judge, judgeByForce, type Verdict } from './verdict.ts';
