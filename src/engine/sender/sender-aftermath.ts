import { MigrationState, parseState, stateName } from '../../states/index.ts';
import { releaseAll } from '../claiming.ts';
import { begin, hasP2p, isStopped, look, runs } from '../course.ts';
import { type Finding, MigrationError, migrationCode } from '../migration-error.ts';
import type { MigrationId, SenderPlan } from '../plan.ts';
import { reasonToJson } from '../side-report.ts';
import { ask, carryOut, find as findMessage, hook, journal, type Sequence, send, succeeds } from '../step.ts';
import { messageOf, type StepError } from '../step-error.ts';
import { asTyped, grammarOf, lossOf, whereabouts } from '../words.ts';
import { isLost } from './sender-commit.ts';
import type { SenderCourse, SenderDevice } from './sender-course.ts';

const { RUNNING, RUNNING_P2P, PRE_COPY } = MigrationState;

/**
 * Undoes what a sender did that failed, as far as that is safe, and says who owns the devices. Never throws a
 * StepError itself: an end that does not answer is part of the finding.
 */
export function* finishSender(
  course: SenderCourse,
  plan: SenderPlan,
  reason: StepError,
): Sequence<MigrationError> {
  const { phase } = course;
  const finding = yield* find(course, plan, reason);
  return new MigrationError(migrationCode(reason.code), reason, {
    ...finding,
    phase,
    sourceStates: course.devices.map(({ state }) => state),
    destinationStates: [],
  });
}

function* find(course: SenderCourse, plan: SenderPlan, reason: StepError): Sequence<Finding> {
  yield* succeeds(carryOut({ do: 'memory', what: 'stop' }));
  if (course.committed === 'yes') return yield* committed(course, plan);
  if (!course.devices.some(({ touched }) => touched)) return yield* untouched(course, plan, reason);
  yield* begin(course, 'roll-back');
  if (course.committed === 'uncertain') return yield* uncertain(course, plan);
  yield* look(course.devices);
  if (course.moved && !course.devices.every(({ state }) => isStopped(state))) return keepBoth(course, plan);
  return yield* rollBack(course, plan, reason);
}

/** The journal says that the source keeps the devices; then they run; only then the destination may discard. */
function* rollBack(course: SenderCourse, plan: SenderPlan, reason: StepError): Sequence<Finding> {
  if (course.begun) yield* succeeds(journal('ABORT'));
  if (course.retiring) yield* releaseAll(course.devices);
  yield* bringBack(course);
  if (course.moved && !isWhole(course)) return keepBoth(course, plan);
  const trouble = yield* resumeGuest(course);
  yield* releaseAll(course.devices);
  const discarded = yield* tellAbort(course, plan, reason);
  return rolledBack(course, plan, discarded, trouble);
}

/** All devices reach their P2P state before any runs; each gets a second chance. */
export function* bringBack(course: SenderCourse): Sequence<void> {
  const touched = course.devices.filter((device) => device.touched);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const away = touched.filter((device) => !isHome(device) && (attempt === 0 || device.state !== null));
    if (away.length === 0) return;
    const stopped = away.filter(
      (device) =>
        hasP2p(device) && device.home === RUNNING && device.state !== null && device.state !== PRE_COPY,
    );
    yield* ask(stopped.map(({ index }) => ({ ask: 'setState', device: index, state: RUNNING_P2P })));
    yield* ask(away.map(({ index, home }) => ({ ask: 'setState', device: index, state: home })));
    yield* look(touched);
  }
}

/** A request may fail once for a reason that passes. */
const ATTEMPTS = 2;

function isHome({ state, home }: SenderDevice): boolean {
  return state === home;
}

/** Every device that was changed is where it began. */
export function isWhole({ devices }: SenderCourse): boolean {
  return devices.every((device) => !device.touched || isHome(device));
}

/** The vCPUs run again only when all their devices do. Why they don't, if they should. */
function* resumeGuest(course: SenderCourse): Sequence<string | null> {
  if (!course.guestStopped || !isWhole(course)) return null;
  try {
    yield* hook('resume');
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

/** Whether the destination has said that it keeps nothing. Where it can be reached again, it is told then. */
function* tellAbort(
  course: SenderCourse,
  { group, epoch }: MigrationId,
  reason: StepError,
): Sequence<boolean> {
  for (;;) {
    try {
      yield* send({ kind: 'ABORT', group, epoch, reason: reasonToJson(reason) });
      if (course.opened) yield* findMessage('ABORTED');
      return true;
    } catch (error) {
      if (!isLost(error) || !course.opened) return false;
      if (!(yield* succeeds(carryOut({ do: 'reconnect' })))) return false;
    }
  }
}

function* untouched(
  course: SenderCourse,
  { group, epoch }: MigrationId,
  reason: StepError,
): Sequence<Finding> {
  if (reason.culprit !== 'destination' && reason.culprit !== 'channel') {
    yield* succeeds(send({ kind: 'ABORT', group, epoch, reason: reasonToJson(reason) }));
  }
  if (course.guestStopped) yield* succeeds(hook('resume'));
  if (course.begun) yield* succeeds(journal('ABORT'));
  yield* releaseAll(course.devices);
  if (reason.culprit === 'source') yield* look(course.devices);
  const silent = reason.culprit === 'source' ? lossOf(course.devices, []) : null;
  const asBefore = course.devices.every(({ state, home }) => state === null || runs(state) || state === home);
  return {
    owner: asBefore ? 'source' : 'in doubt',
    outcome: silent === null ? 'Nothing was changed' : `Nothing was changed. ${silent}`,
    nextSteps: asBefore ? [] : course.devices.map(({ name }) => `ferry inspect ${asTyped(name)}`),
  };
}

/** COMMIT is durable: whatever the source's devices do, they never run again. */
function* committed(course: SenderCourse, plan: SenderPlan): Sequence<Finding> {
  yield* look(course.devices);
  const { subject, s, is } = grammarOf(course.devices.length);
  const kept = course.devices.every(({ state }) => isStopped(state)) ? ', with the state still in it' : '';
  const outcome = `${subject} belong${s} to the destination, whether or not ${is === 'is' ? 'it runs' : 'they run'} there; the source has stopped for good${kept}`;
  return { owner: 'destination', outcome, nextSteps: stepsForward(plan) };
}

/** COMMIT may be found in the journal, or not: who reads it later decides by it. So nobody runs until then. */
function* uncertain(course: SenderCourse, plan: SenderPlan): Sequence<Finding> {
  yield* look(course.devices);
  const tail =
    'Whether the journal gives the destination to own is uncertain, so neither side runs until it can be read';
  const outcome = `${whereabouts('source', course.devices)}. ${tail}`;
  return { owner: 'in doubt', outcome, nextSteps: stepsOutOfDoubt(plan) };
}

/** The source has not got it, or does not answer: what the destination was given may be the only copy. */
function keepBoth(course: SenderCourse, plan: SenderPlan): Finding {
  const tail = 'The destination was given the whole state and keeps it: it may hold the only copy';
  const outcome = `${whereabouts('source', course.devices)}. ${tail}`;
  return { owner: 'in doubt', outcome, nextSteps: stepsOutOfDoubt(plan) };
}

function rolledBack(
  course: SenderCourse,
  plan: SenderPlan,
  discarded: boolean,
  trouble: string | null,
): Finding {
  const { subject, s } = grammarOf(course.devices.length);
  const tail = discarded || !course.opened ? NOTHING_THERE : NOT_HEARD;
  const paused = course.devices.every(({ home }) => home !== RUNNING);
  if (isWhole(course)) {
    const there = paused ? `${subject} stay${s} at the source` : `${subject} run${s} on at the source`;
    const vcpus = trouble === null ? '' : ` The guest's vCPUs have not been started: ${trouble}.`;
    return { owner: 'source', outcome: `${there}.${vcpus} ${tail}`, nextSteps: [] };
  }
  return notHome(course, plan, tail);
}

const NOTHING_THERE = 'The destination does not have it';
/** What a sender says of a destination that it could not hear. */
export const NOT_HEARD =
  'The destination has not confirmed that it keeps nothing; it never runs it by itself';

/** It stays the source's, but somebody has to see to it. What a killed process had is gone. */
function notHome(course: SenderCourse, plan: SenderPlan, tail: string): Finding {
  const { devices } = course;
  const away = devices.filter((device) => device.touched && !isHome(device));
  const silent = away.filter(({ state }) => state === null);
  const broken = away.some(
    ({ state }) => state === null || !isKnown(state) || state === MigrationState.ERROR,
  );
  const lost =
    silent.length === 0 ? '' : ' If its server has been killed, the state that existed only there is lost.';
  const outcome = `${whereabouts('source', devices)}, and did not run again. ${tail}.${lost}`;
  const steps = away.flatMap(({ name, home, claimed }) => [
    `ferry inspect ${asTyped(name)}`,
    `ferry state ${asTyped(name)} --set ${stateName(home)}${claimed ? ' --force' : ''}`,
  ]);
  return {
    owner: broken ? 'in doubt' : 'source',
    outcome: outcome.replace(/\.$/, ''),
    nextSteps: [...steps, ...(plan.peer.recover === null ? [] : [plan.peer.recover])],
  };
}

function isKnown(state: number | null): boolean {
  return state !== null && parseState(state) !== null;
}

/** How to finish what has been decided. */
function stepsForward({ peer }: SenderPlan): readonly string[] {
  const there = peer.devices?.map((name) => `ferry state ${asTyped(name)} --set RUNNING --force`) ?? [];
  return [...(peer.recover === null ? [] : [peer.recover]), ...there];
}

function stepsOutOfDoubt({ peer, names }: SenderPlan): readonly string[] {
  if (peer.recover !== null) return [peer.recover];
  const all = [...names, ...(peer.devices ?? [])];
  const here = names.map((name) => `ferry state ${asTyped(name)} --set RUNNING --force`).join(', ');
  const reset = (peer.devices ?? []).map((name) => `ferry state ${asTyped(name)} --reset --force`).join(', ');
  const there = (peer.devices ?? [])
    .map((name) => `ferry state ${asTyped(name)} --set RUNNING --force`)
    .join(', ');
  const looks = all.map((name) => `ferry inspect ${asTyped(name)}`);
  if (peer.devices === null) return looks;
  return [
    ...looks,
    `if neither runs, choose one: ${here}, after ${reset}`,
    `or, once the source is certain never to run again: ${there}`,
  ];
}
