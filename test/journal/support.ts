import type { BeginRecord, JournalKey, JournalRecord, JournalRole } from '../../src/journal/index.ts';

export const GROUP = '00112233445566778899aabbccddeeff';
export const TOKEN = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';

/** The journal of a role. */
export const keyOf = (role: JournalRole): JournalKey => ({ group: GROUP, role });

/** How a journal begins. */
export function begin(role: JournalRole, changes: Partial<BeginRecord> = {}): BeginRecord {
  return {
    kind: 'BEGIN',
    group: GROUP,
    epoch: 1n,
    role,
    token: TOKEN,
    devices: [{ path: '/run/a.sock.control', instance: 7n }],
    peer: 'b.example:4711',
    ...changes,
  };
}

export const READY: JournalRecord = { kind: 'READY', epoch: 1n };
export const COMMIT: JournalRecord = { kind: 'COMMIT', epoch: 1n };
export const RUN: JournalRecord = { kind: 'RUN', epoch: 1n };
export const DONE: JournalRecord = { kind: 'DONE', epoch: 1n };
export const ABORT: JournalRecord = { kind: 'ABORT', epoch: 1n, reason: 'the peer has gone' };

/** A person's decision. */
export function forced(owner: 'source' | 'destination'): JournalRecord {
  return { kind: 'RECOVERED', epoch: 2n, owner, who: 'alice', why: 'the other host has burnt down' };
}

/** The records that a journal holds, by their kinds. */
export function kindsOf(entries: readonly { readonly record: JournalRecord }[]): string[] {
  return entries.map(({ record }) => record.kind);
}
