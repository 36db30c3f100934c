import { WithheldAction } from '../channel/index.ts';
import type { Position } from '../journal/index.ts';
import { MigrationState } from '../states/index.ts';
import { claimAll, releaseAll } from './claiming.ts';
import { begin, look } from './course.ts';
import { resetAll } from './receiver-aftermath.ts';
import { newReceiverCourse, type ReceiverCourse } from './receiver-course.ts';
import { forward } from './receiver-run.ts';
import type { Recovery, RecoveryPlan } from './recovery.ts';
import { journal, type Sequence, succeeds } from './step.ts';
import { messageOf } from './step-error.ts';
import { asTyped, grammarOf, lossByReset, lossOf, whereabouts } from './words.ts';

const { STOP, RUNNING } = MigrationState;

/**
 * Finishes what a receiver has left behind. Before READY the source owns the devices. From RUN on the destination does.
 * In between only the source's journal tells, or a person who knows that the source is fenced.
 */
export function* recoverReceiver(plan: RecoveryPlan): Sequence<Recovery> {
  const course = newReceiverCourse(plan);
  yield* begin(course, 'roll-back');
  yield* look(course.devices);
  switch (ownerBy(plan)) {
    case 'nobody':
      return told(course, 'source', 'Nothing was begun');
    case 'source':
      return yield* discard(course, plan);
    case 'destination':
      return yield* run(course, plan);
    case 'in doubt':
      return inDoubt(course, plan);
  }
}

/** What the sender's journal says of a receiver that has said READY. */
const BY_PEER: Readonly<Record<Position, 'source' | 'destination' | 'in doubt'>> = {
  START: 'in doubt',
  BEGIN: 'in doubt',
  READY: 'in doubt',
  RUN: 'in doubt',
  COMMIT: 'destination',
  DONE: 'destination',
  'FORCED THERE': 'destination',
  ABORT: 'source',
  'FORCED HERE': 'source',
};

function ownerBy({
  position,
  peerPosition,
  force,
}: RecoveryPlan): 'nobody' | 'source' | 'destination' | 'in doubt' {
  switch (position) {
    case 'START':
      return 'nobody';
    case 'RUN':
    case 'DONE':
    case 'FORCED HERE':
      return 'destination';
    case 'READY': {
      const decided = peerPosition === null ? 'in doubt' : BY_PEER[peerPosition];
      return decided === 'in doubt' && force ? 'destination' : decided;
    }
    default:
      return 'source';
  }
}

/** A device that runs is nobody's who has not said RUN: it has been reset, or is in use for something else. */
function* discard(course: ReceiverCourse, plan: RecoveryPlan): Sequence<Recovery> {
  for (const device of course.devices) device.touched = device.state !== null && device.state !== RUNNING;
  try {
    yield* claimAll(course);
  } catch (error) {
    return {
      ...told(course, 'source', `The source owns the device. Here it is not ours: ${messageOf(error)}`),
      acted: false,
    };
  }
  const left = yield* resetAll(course);
  yield* releaseAll(course.devices);
  if (plan.position === 'BEGIN' || plan.position === 'READY') yield* succeeds(journal('ABORT'));
  const { subject, s } = grammarOf(course.devices.length);
  const owned = `${subject} belong${s} to the source. What the destination was given is discarded`;
  if (left.length === 0) return { ...told(course, 'source', owned), acted: true };
  const nextSteps = left.map(({ name }) => `ferry state ${asTyped(name)} --reset`);
  return {
    ...told(course, 'source', `${owned}, except where it could not be reset`),
    acted: true,
    nextSteps,
  };
}

function* run(course: ReceiverCourse, plan: RecoveryPlan): Sequence<Recovery> {
  const { subject, s } = grammarOf(course.devices.length);
  const lost = lossOf(course.devices, plan.replaced);
  if (lost !== null) return told(course, 'destination', lost);
  for (const device of course.devices) {
    device.actions = WithheldAction.INTERRUPTS;
    device.isToRun = !plan.paused;
  }
  if (plan.position === 'DONE')
    return told(course, 'destination', `${subject} belong${s} to the destination`);
  try {
    yield* claimAll(course);
    if (plan.position === 'READY' && plan.force && !isDecided(plan)) yield* journal('RECOVERED');
    yield* forward(course, plan.position === 'RUN');
    yield* releaseAll(course.devices);
    yield* succeeds(journal('DONE'));
  } catch (error) {
    yield* look(course.devices);
    const outcome = `${subject} belong${s} to the destination, and could not be started: ${messageOf(error)}${lossByReset(error)}`;
    const nextSteps = plan.peer.recover === null ? [] : [plan.peer.recover];
    return { ...told(course, 'destination', outcome), acted: true, nextSteps };
  }
  const where = plan.paused ? `stay${s} stopped at the destination` : `run${s} at the destination`;
  return { ...told(course, 'destination', `${subject} ${where}`), acted: true };
}

function isDecided({ peerPosition }: RecoveryPlan): boolean {
  return peerPosition !== null && BY_PEER[peerPosition] === 'destination';
}

function inDoubt(course: ReceiverCourse, plan: RecoveryPlan): Recovery {
  const { subject, s, is, object } = grammarOf(course.devices.length);
  const tail = `${subject} ${is} complete here and wait${s} for the source's decision, which can't be read from here`;
  const held = course.devices.every(({ state }) => state === STOP);
  const recover = plan.peer.recover ?? 'ferry recover';
  const source =
    plan.peerPosition === null
      ? 'with the journal of the source'
      : 'at the source first, which has not decided';
  return {
    ...told(course, 'in doubt', held ? tail : `${tail}. ${whereabouts('destination', course.devices)}`),
    nextSteps: [
      `${recover}, ${source}`,
      `or, once the source is certain never to run ${object} again: ${recover} --force here`,
    ],
  };
}

function told(course: ReceiverCourse, owner: Recovery['owner'], outcome: string): Recovery {
  return { owner, acted: false, states: course.devices.map(({ state }) => state), outcome, nextSteps: [] };
}
