import { MigrationState, parseState } from '../../states/index.ts';
import { releaseAll } from '../claiming.ts';
import { begin, type DeviceCourse, look, runs } from '../course.ts';
import { type Finding, MigrationError, migrationCode } from '../migration-error.ts';
import type { MigrationId, SidePlan } from '../plan.ts';
import { reasonToJson } from '../side-report.ts';
import { ask, find as findMessage, journal, type Sequence, send, succeeds } from '../step.ts';
import { StepError } from '../step-error.ts';
import { asTyped, grammarOf, lossByReset, whereabouts } from '../words.ts';
import type { ReceiverCourse } from './receiver-course.ts';

/**
 * Ends a receiver that failed: discards what it was given, unless that may be the only copy, and says who owns the
 * devices. Never throws a StepError itself.
 */
export function* finishReceiver(
  course: ReceiverCourse,
  plan: SidePlan,
  reason: StepError,
): Sequence<MigrationError> {
  const { phase } = course;
  const finding = yield* find(course, plan, reason);
  return new MigrationError(migrationCode(reason.code), reason, {
    ...finding,
    phase,
    sourceStates: [],
    destinationStates: course.devices.map(({ state }) => state),
  });
}

function* find(course: ReceiverCourse, plan: SidePlan, reason: StepError): Sequence<Finding> {
  if (course.committed) return afterCommit(course, plan, reason);
  const isTouched = course.begun || course.devices.some(({ touched }) => touched);
  if (!isTouched) return yield* untouched(plan, reason);
  yield* begin(course, 'roll-back');
  if (course.ready && !course.abortedByPeer) return yield* keep(course, plan, AFTER_READY);
  if (!course.abortedByPeer && !(yield* mayDiscard(course, plan, reason)))
    return yield* keep(course, plan, ONLY_COPY);
  return yield* discard(course, plan);
}

/**
 * What has arrived completely may be the only copy, should the source fail to run again: it is kept until the source
 * says that it goes on. A source that can't be heard has not heard READY, and so keeps the devices.
 */
function* mayDiscard(course: ReceiverCourse, id: MigrationId, reason: StepError): Sequence<boolean> {
  const { group, epoch } = id;
  if (reason.code === 'ERR_PEER_LEFT') return !course.moved;
  yield* look(course.devices);
  // A device that somebody else has set running must not run beside the source's.
  if (course.devices.some(({ touched, state }) => touched && runs(state))) yield* resetAll(course.devices);
  try {
    yield* send({ kind: 'ABORT', group, epoch, reason: reasonToJson(reason) });
    if (course.moved) yield* findMessage('ABORT');
    return true;
  } catch (error) {
    return !(error instanceof StepError && error.code === 'ERR_PEER_LEFT');
  }
}

function* discard(course: ReceiverCourse, { group, epoch }: SidePlan): Sequence<Finding> {
  const left = yield* resetAll(course.devices);
  yield* releaseAll(course.devices);
  if (course.begun) yield* succeeds(journal('ABORT'));
  if (left.length === 0) {
    yield* succeeds(send({ kind: 'ABORTED', group, epoch }));
    return { owner: 'source', outcome: 'The destination does not have it', nextSteps: [] };
  }
  return {
    owner: 'source',
    outcome: 'The destination could not be reset; it was never asked to run',
    nextSteps: left.map(
      ({ name, claimed }) => `ferry state ${asTyped(name)} --reset${claimed ? ' --force' : ''}`,
    ),
  };
}

const ATTEMPTS = 2;

/** Those that could not be reset. A device that runs is no proof: it may never have left RUNNING. */
export function* resetAll(devices: readonly DeviceCourse[]): Sequence<readonly DeviceCourse[]> {
  let left = devices.filter(({ touched }) => touched);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const answers = yield* ask(left.map(({ index }) => ({ ask: 'reset', device: index })));
    const failed = left.filter((_, i) => answers[i]?.is === 'failed');
    yield* look(left);
    left = left.filter((device) => failed.includes(device) || device.state !== MigrationState.RUNNING);
    if (left.every(({ state }) => state === null)) break;
  }
  for (const device of devices) device.touched = left.includes(device);
  return left;
}

const AFTER_READY =
  'It has said READY and has not heard the outcome, so it neither runs nor discards what it was given';
const ONLY_COPY = 'It was given the whole state and keeps it: it may hold the only copy';

function* keep(course: ReceiverCourse, plan: SidePlan, why: string): Sequence<Finding> {
  yield* look(course.devices);
  const outcome = `Who has the device can't be told from here. ${whereabouts('destination', course.devices)}. ${why}`;
  return { owner: 'in doubt', outcome, nextSteps: stepsFromDoubt(plan) };
}

function stepsFromDoubt({ names, peer }: SidePlan): readonly string[] {
  if (peer.recover !== null) return [peer.recover];
  return [
    ...names.map((name) => `ferry inspect ${asTyped(name)}`),
    `once the source is certain never to run again: ${names.map((name) => `ferry state ${asTyped(name)} --set RUNNING --force`).join(', ')}`,
  ];
}

/** Given to the destination for good. */
function afterCommit(course: ReceiverCourse, plan: SidePlan, reason: StepError): Finding {
  const { subject, s } = grammarOf(course.devices.length);
  const away = course.devices.filter(({ state, isToRun }) => isToRun && state !== MigrationState.RUNNING);
  const lost = lossByReset(reason);
  if (lost === '' && away.length === 0 && course.devices.every(({ state }) => isUsable(state))) {
    const vcpus = course.started ? '' : ". The guest's vCPUs have not been started";
    return { owner: 'destination', outcome: `${subject} run${s} at the destination${vcpus}`, nextSteps: [] };
  }
  const outcome = `${subject} belong${s} to the destination. ${whereabouts('destination', course.devices)}${lost}`;
  const steps = away.map(({ name }) => `ferry state ${asTyped(name)} --set RUNNING --force`);
  return {
    owner: 'destination',
    outcome,
    nextSteps: plan.peer.recover === null ? steps : [plan.peer.recover, ...steps],
  };
}

function isUsable(state: number | null): boolean {
  return state !== null && parseState(state) !== null && state !== MigrationState.ERROR;
}

function* untouched({ group, epoch }: MigrationId, reason: StepError): Sequence<Finding> {
  if (reason.culprit !== 'source' && reason.culprit !== 'channel' && reason.code !== 'ERR_STEP_REFUSED') {
    yield* succeeds(send({ kind: 'ABORT', group, epoch, reason: reasonToJson(reason) }));
  }
  return { owner: 'source', outcome: 'Nothing was changed', nextSteps: [] };
}
