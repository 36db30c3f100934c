import { positionOf } from './legality.ts';
import { isOwn, type Owner, type OwnerReason, ownerOf } from './owner.ts';
import type { JournalRole, OwningSide } from './record.ts';
import { actionsFor, isLost, type RecoveryAction, type Situation } from './recovery-actions.ts';
import { lossSentences, nextSteps, runningSentences, sentenceOf } from './verdict-words.ts';

/** Who has the device after a migration that was interrupted, and what to do about it on one's own side. */
export interface Verdict {
  readonly owner: Owner;
  readonly reason: OwnerReason;
  /** What to do here, in this order; nothing when in doubt. */
  readonly actions: readonly RecoveryAction[];
  /** What is known, and what is lost, for people. */
  readonly sentences: readonly string[];
  /** What a person does next; nothing when the actions end it. */
  readonly nextSteps: readonly string[];
  /** Devices whose state is lost: it existed only in a process that has ended, or in a device that has failed. */
  readonly lost: readonly string[];
}

/** Decides from what can be read: the journals, and the devices of the side that asks. */
export function judge(situation: Situation): Verdict {
  const { owner, reason } = ownerOf(situation);
  return verdict(situation, owner, reason);
}

/**
 * The verdict when a person says who has the device, and answers for it that the other side never runs it again. The
 * first action writes that down.
 */
export function judgeByForce(situation: Situation, owner: OwningSide): Verdict {
  const forced = withDecision(situation, owner);
  const result = verdict(forced, owner, 'decided by force');
  const own = situation[situation.role];
  const actions = result.actions.filter((action) => action !== 'journal RECOVERED');
  return { ...result, actions: own === null ? actions : ['journal RECOVERED', ...actions] };
}

function verdict(situation: Situation, owner: Owner, reason: OwnerReason): Verdict {
  const lost = lostAt(situation, owner);
  return {
    ...{ owner, reason, lost },
    actions: actionsFor(situation, owner),
    sentences: [
      sentenceOf(reason, owner),
      ...runningSentences(situation, owner),
      ...lossSentences(situation, lost),
    ],
    nextSteps: nextSteps(situation, owner, lost),
  };
}

/** The situation as it is once the decision has been written down here. */
function withDecision(situation: Situation, owner: OwningSide): Situation {
  const { role } = situation;
  const own = situation[role];
  if (own === null) return situation;
  const epoch = own.at(-1)?.record.epoch ?? 1n;
  const record = { kind: 'RECOVERED', epoch, owner, who: '', why: '' } as const;
  return { ...situation, [role]: [...own, { sequence: own.length, atMs: 0, record }] };
}

/** Devices here that are gone, and whose state nobody else has. */
function lostAt(situation: Situation, owner: Owner): readonly string[] {
  const { role, devices } = situation;
  if (!isOwn(role, owner) || keepsCopy(role, situation)) return [];
  return devices.filter(isLost).map(({ path }) => path);
}

/** A receiver that has not run keeps what it received; a source that never began has nothing to do with this. */
function keepsCopy(role: JournalRole, situation: Situation): boolean {
  const entries = situation[role];
  if (entries === null) return false;
  const position = positionOf(role, entries);
  return role === 'sender' ? position === 'START' : position === 'READY' || position === 'FORCED HERE';
}
