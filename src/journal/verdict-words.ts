import { positionOf, SIDE } from './legality.ts';
import { isOwn, type Owner, type OwnerReason, otherRole } from './owner.ts';
import { executes, mayNeedCopy, type Situation } from './recovery-actions.ts';

const SENTENCES: Readonly<Record<OwnerReason, string>> = {
  'neither journal can be read': 'Neither journal can be read, so nobody can tell who has the device.',
  'not committed': 'The source has it: its journal can be read, and there is no COMMIT in it.',
  committed: 'The destination has it: the journal of the source has COMMIT.',
  'not ready': 'The source has it: the destination never became ready, so nothing can have been committed.',
  'ready, outcome unknown':
    'The destination was ready, and only the journal of the source tells whether it was given the device.',
  aborted: 'The source has it: the migration was aborted.',
  'runs at the destination': 'The destination has it: its journal says that it was about to run.',
  'decided by force': 'A person has decided who has it.',
  'the journals contradict each other':
    'The journals contradict each other, which no migration leaves behind: one of them is not the one of this ' +
    'migration, or was changed or restored from a copy.',
};

/** Who has the device and how that is known. */
export function sentenceOf(reason: OwnerReason, owner: Owner): string {
  return reason === 'decided by force'
    ? `${SENTENCES[reason].slice(0, -1)}: the ${owner}.`
    : SENTENCES[reason];
}

/** What is wrong when devices execute where they should not. */
export function runningSentences({ role, devices }: Situation, owner: Owner): readonly string[] {
  if (isOwn(role, owner)) return [];
  const running = devices.filter(executes).map(({ path }) => path);
  if (running.length === 0) return [];
  const who = owner === 'in doubt' ? 'it is not certain that it may' : `the ${owner} has the device`;
  // Before READY a destination's device is its own affair: it was reset, or never touched.
  if (role === 'receiver' && owner === 'source') return [];
  return [`${running.join(', ')} runs at the ${SIDE[role]}, but ${who}.`];
}

/** What is gone for good, in those words. */
export function lossSentences(situation: Situation, lost: readonly string[]): readonly string[] {
  if (lost.length === 0) return [];
  const what = situation.devices
    .filter(({ path }) => lost.includes(path))
    .map(({ path, is }) => `The state of ${path} is lost: ${is === 'gone' ? ENDED : FAILED}.`);
  if (!destinationHasCopy(situation)) return what;
  const copy =
    'The destination still holds a copy of the whole group, from the moment at which the source stopped.';
  return [...what, copy];
}

const ENDED = 'it existed only in a process that has ended';
const FAILED = 'it existed only in the device, which has failed (ERROR), and only a reset leads out of that';

/** What a person does next. */
export function nextSteps(situation: Situation, owner: Owner, lost: readonly string[]): readonly string[] {
  const { role } = situation;
  const here = SIDE[role];
  const there = SIDE[otherRole(role)];
  if (owner === 'in doubt') return inDoubt(situation);
  if (lost.length > 0) return afterLoss(situation);
  if (isOwn(role, owner))
    return role === 'receiver' && situation.receiver === null ? UNRECORDED : silent(situation);
  if (role === 'receiver' && waitsForSource(situation)) {
    return ['ferry recover at the source first: what is here is kept until the source has written ABORT'];
  }
  return situation[otherRole(role)] === null
    ? [`ferry recover --peer FILE at the ${there}, FILE being the journal of the ${here}`]
    : [];
}

const UNRECORDED = [
  'the journal of the destination can not be read, so that nobody can tell whether it has run: ferry inspect its ' +
    'devices, and ferry state --set RUNNING --force on those that hold the state and do not run',
] as const;

function afterLoss(situation: Situation): readonly string[] {
  const anew = 'start the guest anew, or from a saved state (ferry restore)';
  if (destinationHasCopy(situation)) {
    return [
      'ferry recover --force at the destination, which goes on from its copy; never run the source then',
      `or, to give that up: ferry recover --force here, and ${anew}`,
    ];
  }
  return mayNeedCopy(situation)
    ? [
        'bring the journal of the destination here: if it became ready, it holds a copy; then: ferry recover --peer FILE',
      ]
    : [anew];
}

function inDoubt(situation: Situation): readonly string[] {
  const { role } = situation;
  const there = SIDE[otherRole(role)];
  const force =
    `make certain that the ${there} never runs the device again (power it off, or reset its devices), ` +
    'and only then: ferry recover --force';
  return situation[otherRole(role)] === null
    ? [`bring the journal of the ${there} here, and run: ferry recover --peer FILE`, force]
    : [force];
}

function silent({ devices }: Situation): readonly string[] {
  const names = devices.filter(({ is }) => is === 'unknown').map(({ path }) => path);
  return names.length === 0
    ? []
    : [`see why ${names.join(', ')} does not answer, and run ferry recover again`];
}

/** The source has the device but has not written ABORT, and the destination is ready. */
function waitsForSource({ sender, receiver }: Situation): boolean {
  if (receiver !== null && positionOf('receiver', receiver) !== 'READY') return false;
  const position = sender === null ? 'START' : positionOf('sender', sender);
  return position === 'START' || position === 'BEGIN';
}

/** The source lost its devices before it had decided anything, and the destination has loaded all of it. */
function destinationHasCopy(situation: Situation): boolean {
  return situation.role === 'sender' && situation.receiver !== null && mayNeedCopy(situation);
}
