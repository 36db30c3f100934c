import { MigrationState } from '../states/index.ts';
import { claimAll, releaseAll } from './claiming.ts';
import { begin, look } from './course.ts';
import type { Recovery, RecoveryPlan } from './recovery.ts';
import { bringBack, isWhole } from './sender-aftermath.ts';
import { cleanUp, deliver } from './sender-commit.ts';
import { newSenderCourse, type SenderCourse } from './sender-course.ts';
import { hook, journal, type Sequence, succeeds } from './step.ts';
import { messageOf } from './step-error.ts';
import { asTyped, grammarOf, lossOf, whereabouts } from './words.ts';

/**
 * Finishes what a sender has left behind. Without COMMIT in its journal the source owns the devices: they run again
 * here, and the journal says so first. With it the destination does: it is told, if it can be reached.
 */
export function* recoverSender(plan: RecoveryPlan): Sequence<Recovery> {
  const course = newSenderCourse(plan);
  yield* begin(course, 'roll-back');
  yield* look(course.devices);
  switch (plan.position) {
    case 'START':
      return told(course, 'source', 'Nothing was begun');
    case 'BEGIN':
    case 'ABORT':
    case 'FORCED HERE':
      return yield* goBack(course, plan);
    default:
      return yield* goForward(course, plan);
  }
}

/** Who wakes up late has an epoch that is over, so that it can neither retire the devices nor run them. */
function* goBack(course: SenderCourse, plan: RecoveryPlan): Sequence<Recovery> {
  for (const device of course.devices) {
    device.home = plan.paused ? MigrationState.STOP : MigrationState.RUNNING;
    device.touched = device.state !== device.home;
  }
  try {
    yield* claimAll(course);
    if (plan.position !== 'ABORT') yield* journal('ABORT');
  } catch (error) {
    return stuck(course, plan, messageOf(error));
  }
  if (!plan.replaced.some((each) => each)) {
    yield* releaseAll(course.devices);
    yield* bringBack(course);
  }
  yield* releaseAll(course.devices);
  return yield* afterGoingBack(course, plan);
}

function* afterGoingBack(course: SenderCourse, plan: RecoveryPlan): Sequence<Recovery> {
  const { subject, s } = grammarOf(course.devices.length);
  const lost = lossOf(course.devices, plan.replaced);
  if (lost !== null) return { ...told(course, 'source', lost), acted: true, nextSteps: afterLoss(plan) };
  if (!isWhole(course)) return stuck(course, plan, whereabouts('source', course.devices));
  yield* succeeds(hook('resume'));
  const where = plan.paused ? `stay${s} at the source` : `run${s} at the source`;
  return {
    ...told(course, 'source', `${subject} ${where}. The destination never runs what it was given`),
    acted: true,
  };
}

/** What is lost here may have reached the other side completely. */
function afterLoss({ peer, peerPosition }: RecoveryPlan): readonly string[] {
  if (peerPosition !== null && peerPosition !== 'READY') return [];
  const there = 'if the destination said READY, it holds the whole state';
  return [`${there}: ${peer.recover ?? 'recover'} there, with --force`];
}

function* goForward(course: SenderCourse, plan: RecoveryPlan): Sequence<Recovery> {
  const { subject, s } = grammarOf(course.devices.length);
  const owned = `${subject} belong${s} to the destination; the source has stopped for good`;
  if (plan.position === 'DONE' || !plan.connected) {
    const nextSteps =
      plan.position === 'DONE' || plan.peer.recover === null ? [] : [`${plan.peer.recover} there`];
    return { ...told(course, 'destination', owned), nextSteps };
  }
  try {
    yield* claimAll(course);
    const { problem } = yield* deliver({ group: plan.group, epoch: plan.begunEpoch });
    if (problem !== null)
      return { ...told(course, 'destination', `${owned}, where ${problem}`), acted: true };
    const notes = yield* cleanUp(course);
    const outcome = [`${subject} run${s} at the destination`, ...notes].join('. ');
    return { ...told(course, 'destination', outcome), acted: true };
  } catch (error) {
    return {
      ...told(course, 'destination', `${owned}. It could not be told: ${messageOf(error)}`),
      acted: false,
    };
  }
}

function stuck(course: SenderCourse, plan: RecoveryPlan, why: string): Recovery {
  const steps = course.devices.map(({ name }) => `ferry inspect ${asTyped(name)}`);
  return {
    ...told(course, 'source', `The source owns what it has, and it could not be brought back: ${why}`),
    acted: true,
    nextSteps: plan.peer.recover === null ? steps : [...steps, plan.peer.recover],
  };
}

function told(course: SenderCourse, owner: Recovery['owner'], outcome: string): Recovery {
  return { owner, acted: false, states: course.devices.map(({ state }) => state), outcome, nextSteps: [] };
}
