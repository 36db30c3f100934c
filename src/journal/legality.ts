import type { JournalEntry, JournalRecord, JournalRole, RecordKind } from './record.ts';

/** Where a journal is: nothing in it yet, or what decided last. A forced decision counts by whom it made the owner. */
export type Position = 'START' | Exclude<RecordKind, 'RECOVERED'> | 'FORCED HERE' | 'FORCED THERE';

/**
 * Which records may follow, by role and position. `FORCED HERE`: a person gave the device to the side that keeps the
 * journal; `FORCED THERE`: to the other one.
 *
 * A sender that has written COMMIT only goes forward, a receiver that has written READY waits for the outcome: what a
 * process of the protocol can't write is not here. A person may decide at any time after BEGIN, also against a decision.
 */
export const FOLLOWING: Readonly<Record<JournalRole, Readonly<Record<Position, readonly RecordKind[]>>>> = {
  sender: {
    START: ['BEGIN'],
    BEGIN: ['COMMIT', 'ABORT', 'RECOVERED'],
    READY: [],
    COMMIT: ['DONE', 'RECOVERED'],
    RUN: [],
    DONE: ['RECOVERED'],
    ABORT: ['RECOVERED'],
    'FORCED HERE': ['ABORT', 'RECOVERED'],
    'FORCED THERE': ['DONE', 'RECOVERED'],
  },
  receiver: {
    START: ['BEGIN'],
    BEGIN: ['READY', 'ABORT', 'RECOVERED'],
    READY: ['RUN', 'ABORT', 'RECOVERED'],
    COMMIT: [],
    RUN: ['DONE', 'RECOVERED'],
    DONE: ['RECOVERED'],
    ABORT: ['RECOVERED'],
    'FORCED HERE': ['RUN', 'RECOVERED'],
    'FORCED THERE': ['ABORT', 'RECOVERED'],
  },
};

/** Where a journal with these entries is. */
export function positionOf(role: JournalRole, entries: readonly JournalEntry[]): Position {
  const last = entries.at(-1)?.record;
  if (last === undefined) return 'START';
  if (last.kind !== 'RECOVERED') return last.kind;
  return last.owner === SIDE[role] ? 'FORCED HERE' : 'FORCED THERE';
}

/** Which end of the migration a role is. */
export const SIDE = { sender: 'source', receiver: 'destination' } as const;

/** Why a record may not follow these entries, as the rest of a sentence; null when it may. */
export function mayFollow(
  role: JournalRole,
  entries: readonly JournalEntry[],
  record: JournalRecord,
): string | null {
  const position = positionOf(role, entries);
  if (!FOLLOWING[role][position].includes(record.kind))
    return `${record.kind} does not follow ${position} in the journal of a ${role}`;
  if (record.kind === 'BEGIN' && record.role !== role)
    return `it belongs to a ${role}, not to a ${record.role}`;
  const before = entries.at(-1)?.record.epoch ?? 1n;
  return record.epoch >= before ? null : `epoch ${record.epoch} is over: ${before} has begun`;
}
