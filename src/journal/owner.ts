import { type Position, positionOf, SIDE } from './legality.ts';
import type { JournalEntry, JournalRole, OwningSide } from './record.ts';

/** What can be read of the two journals of a migration; null where one can't be read. */
export interface Journaled {
  readonly sender: readonly JournalEntry[] | null;
  readonly receiver: readonly JournalEntry[] | null;
}

/** Who has the device, or that it can't be told. */
export type Owner = OwningSide | 'in doubt';

/** Why that is so. */
export type OwnerReason =
  | 'neither journal can be read'
  | 'not committed'
  | 'committed'
  | 'not ready'
  | 'ready, outcome unknown'
  | 'aborted'
  | 'runs at the destination'
  | 'decided by force'
  | 'the journals contradict each other';

/** What a journal says of its own side: it has the device, it has not, or it waits to be told. */
export type Stance = 'mine' | 'not mine' | 'waits';

/** The stance of a journal, by role and position. A side that has begun and no more is where it was before. */
export const STANCES: Readonly<Record<JournalRole, Readonly<Record<Position, Stance>>>> = {
  sender: {
    START: 'mine',
    BEGIN: 'mine',
    READY: 'mine',
    COMMIT: 'not mine',
    RUN: 'not mine',
    DONE: 'not mine',
    ABORT: 'mine',
    'FORCED HERE': 'mine',
    'FORCED THERE': 'not mine',
  },
  receiver: {
    START: 'not mine',
    BEGIN: 'not mine',
    READY: 'waits',
    COMMIT: 'waits',
    RUN: 'mine',
    DONE: 'mine',
    ABORT: 'not mine',
    'FORCED HERE': 'mine',
    'FORCED THERE': 'not mine',
  },
};

/** Who has the device according to what can be read. */
export function ownerOf(journaled: Journaled): { readonly owner: Owner; readonly reason: OwnerReason } {
  const { sender, receiver } = journaled;
  if (sender !== null && receiver !== null) return ofBoth(sender, receiver);
  if (sender !== null) return ofSender(sender);
  if (receiver !== null) return ofReceiver(receiver);
  return { owner: 'in doubt', reason: 'neither journal can be read' };
}

type Finding = ReturnType<typeof ownerOf>;

function ofSender(entries: readonly JournalEntry[]): Finding {
  const mine = stanceOf('sender', entries) === 'mine';
  const owner = mine ? 'source' : 'destination';
  if (forcedOwner(entries) === owner) return { owner, reason: 'decided by force' };
  if (!mine) return { owner, reason: 'committed' };
  return { owner, reason: positionOf('sender', entries) === 'ABORT' ? 'aborted' : 'not committed' };
}

function ofReceiver(entries: readonly JournalEntry[]): Finding {
  const stance = stanceOf('receiver', entries);
  if (stance === 'waits') return { owner: 'in doubt', reason: 'ready, outcome unknown' };
  const owner = stance === 'mine' ? 'destination' : 'source';
  if (forcedOwner(entries) === owner) return { owner, reason: 'decided by force' };
  if (stance === 'mine') return { owner, reason: 'runs at the destination' };
  return { owner, reason: positionOf('receiver', entries) === 'ABORT' ? 'aborted' : 'not ready' };
}

function ofBoth(sender: readonly JournalEntry[], receiver: readonly JournalEntry[]): Finding {
  const [here, there] = [stanceOf('sender', sender), stanceOf('receiver', receiver)];
  if (there === 'waits' || here !== there) return ofSender(sender);
  return (
    forcedAgainst(sender, receiver) ?? { owner: 'in doubt', reason: 'the journals contradict each other' }
  );
}

/** Both want the device, or neither does: one of them was told by a person, and the other has not decided since. */
function forcedAgainst(sender: readonly JournalEntry[], receiver: readonly JournalEntry[]): Finding | null {
  const [bySender, byReceiver] = [forcedOwner(sender), forcedOwner(receiver)];
  const position = positionOf('sender', sender);
  if (bySender !== null || byReceiver === null) return null;
  const undecided = position === 'START' || position === 'BEGIN';
  if (byReceiver === 'destination')
    return undecided ? { owner: byReceiver, reason: 'decided by force' } : null;
  return position === 'COMMIT' ? { owner: byReceiver, reason: 'decided by force' } : null;
}

/** What the journal says of its own side. */
export function stanceOf(role: JournalRole, entries: readonly JournalEntry[]): Stance {
  return STANCES[role][positionOf(role, entries)];
}

/** Whom a person has made the owner last; null when nobody has. */
function forcedOwner(entries: readonly JournalEntry[]): OwningSide | null {
  const forced = entries.findLast(({ record }) => record.kind === 'RECOVERED')?.record;
  return forced?.kind === 'RECOVERED' ? forced.owner : null;
}

/** The other role. */
export function otherRole(role: JournalRole): JournalRole {
  return role === 'sender' ? 'receiver' : 'sender';
}

/** Whether this side has the device. */
export function isOwn(role: JournalRole, owner: Owner): boolean {
  return owner === SIDE[role];
}
