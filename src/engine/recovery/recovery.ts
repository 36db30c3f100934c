import {
  type DeviceCondition,
  type Journaled,
  type JournalRole,
  judge,
  judgeByForce,
  SIDE,
  type Verdict,
} from '../../journal/index.ts';
import { type MigrationMachine, MigrationState, migrationMachine } from '../../states/index.ts';
import { claimAll, releaseAll, retireAll } from '../claiming.ts';
import { begin, type Course, type DeviceCourse, isStopped, look, take } from '../course.ts';
import type { Owner } from '../migration-error.ts';
import type { SidePlan } from '../plan.ts';
import { resetAll } from '../receiver/receiver-aftermath.ts';
import { newReceiverCourse, type ReceiverCourse } from '../receiver/receiver-course.ts';
import { arm, setRunning } from '../receiver/receiver-run.ts';
import { bringBack, isWhole } from '../sender/sender-aftermath.ts';
import { cleanUp, deliver } from '../sender/sender-commit.ts';
import { newSenderCourse, type SenderCourse } from '../sender/sender-course.ts';
import { ask, carryOut, hook, journal, type Sequence, succeeds } from '../step.ts';
import { asStepError, messageOf, StepError } from '../step-error.ts';

const { STOP, RUNNING } = MigrationState;

/** What a recovering sequence is told. Its epoch is that of the recovery. */
export interface RecoveryPlan extends SidePlan {
  readonly role: JournalRole;
  /** What can be read of the two journals; its own always can. */
  readonly journals: Journaled;
  /** The epoch of the migration, by which both sides know it. */
  readonly begunEpoch: bigint;
  /** The other side can be spoken to. */
  readonly connected: boolean;
  /** A person knows that the other side is fenced, and decides for this one. */
  readonly force: boolean;
  /** The servers that held the devices have ended: what was only in them is gone (by number). */
  readonly replaced: readonly boolean[];
  /** The guests that were paused, and stay so (by number). */
  readonly paused: readonly boolean[];
  /** What was withheld and is due before a device runs, as bits of WithheldAction (by number). */
  readonly actions: readonly number[];
}

/** What a recovery found and did. */
export interface Recovery {
  readonly owner: Owner;
  /** Something was changed, or could have been. */
  readonly acted: boolean;
  /** Everything that was to be done here is done. */
  readonly complete: boolean;
  /** The states of this side's devices; null for one that does not answer. */
  readonly states: readonly (number | null)[];
  /** Devices whose state is lost. */
  readonly lost: readonly string[];
  /** What was found and done, in sentences. */
  readonly outcome: string;
  /** What to do next, one thing each. */
  readonly nextSteps: readonly string[];
}

/**
 * Finishes what one side of a migration has left behind: does on this side what follows from the journals that can be
 * read. In doubt nothing is changed. Never throws a StepError: what could not be done is part of what it tells.
 */
export function* recovery(plan: RecoveryPlan): Sequence<Recovery> {
  const side = plan.role === 'sender' ? newSenderCourse(plan) : newReceiverCourse(plan);
  yield* begin(side, 'roll-back');
  yield* learnMachines(side.devices);
  yield* look(side.devices);
  const situation = { role: plan.role, ...plan.journals, devices: conditionsOf(side, plan) };
  const verdict = plan.force ? judgeByForce(situation, SIDE[plan.role]) : judge(situation);
  let trouble: string | null = null;
  try {
    if (verdict.actions.length > 0) yield* claimAll(side);
    yield* carryOutAll(side, plan, verdict);
  } catch (error) {
    trouble = messageOf(asStepError(error));
  }
  yield* look(side.devices);
  return told(side, verdict, trouble);
}

/** A device that can't be asked is recovered without its P2P states, if at all. */
function* learnMachines(devices: readonly DeviceCourse[]): Sequence<void> {
  const answers = yield* ask(devices.map(({ index }) => ({ ask: 'flags', device: index })));
  devices.forEach((device, i) => {
    const answer = answers[i];
    if (answer?.is === 'flags') device.machine = machineFor(answer.flags);
  });
}

function machineFor(flags: bigint | null): MigrationMachine | null {
  if (flags === null) return null;
  try {
    return migrationMachine(flags);
  } catch {
    return null;
  }
}

function conditionsOf(course: Course, { replaced }: RecoveryPlan): readonly DeviceCondition[] {
  return course.devices.map(({ name: path, index, state }): DeviceCondition => {
    if (replaced[index] === true) return { path, is: 'gone' };
    return state === null ? { path, is: 'unknown' } : { path, is: 'there', state };
  });
}

function* carryOutAll(
  course: SenderCourse | ReceiverCourse,
  plan: RecoveryPlan,
  { owner, actions }: Verdict,
): Sequence<void> {
  for (const action of actions) {
    switch (action) {
      case 'journal RECOVERED':
      case 'journal ABORT':
      case 'journal RUN':
      case 'journal DONE':
        yield* record(action);
        break;
      case 'release':
        yield* releaseAll(course.devices);
        break;
      case 'run':
        yield* isSender(course) ? runSource(course, plan) : runDestination(course, plan);
        break;
      case 'stop':
        yield* take(
          course,
          course.devices.filter(({ state }) => state !== null && !isStopped(state)),
          () => STOP,
        );
        break;
      case 'retire':
        yield* retireAll(course.devices);
        break;
      case 'discard':
        yield* discard(course);
        break;
      case 'load kept state':
        yield* loadKept(course);
        break;
    }
  }
  if (owner === 'destination' && isSender(course)) yield* tell(course, plan);
}

/** All of them anew: which of them still hold what they were given is not worth a guess. */
function* loadKept(course: Course): Sequence<void> {
  try {
    yield* take(course, course.devices, () => MigrationState.RESUMING);
    yield* carryOut({ do: 'loadKept' });
    yield* take(course, course.devices, () => STOP);
  } catch (error) {
    const tail = 'What a device was given is lost there, and the stopped source still has it';
    throw new StepError('ERR_STEP_FAILED', 'destination', `${messageOf(error)}. ${tail}`, error);
  }
}

function* record(action: `journal ${'RECOVERED' | 'ABORT' | 'RUN' | 'DONE'}`): Sequence<void> {
  switch (action) {
    case 'journal RECOVERED':
      return yield* journal('RECOVERED');
    case 'journal ABORT':
      return yield* journal('ABORT');
    case 'journal RUN':
      return yield* journal('RUN');
    case 'journal DONE':
      return void (yield* succeeds(journal('DONE')));
  }
}

function isSender(course: SenderCourse | ReceiverCourse): course is SenderCourse {
  return course.end === 'source';
}

/** Who wakes up late has an epoch that is over, so that it can neither retire the devices nor run them. */
function* runSource(course: SenderCourse, { paused }: RecoveryPlan): Sequence<void> {
  for (const device of course.devices) {
    device.home = paused[device.index] === true ? STOP : RUNNING;
    device.touched = device.state !== device.home;
  }
  yield* bringBack(course);
  if (!isWhole(course))
    throw new StepError('ERR_STEP_FAILED', 'source', 'not all devices of the source run again');
  yield* succeeds(hook('resume'));
}

function* runDestination(course: ReceiverCourse, { paused, actions }: RecoveryPlan): Sequence<void> {
  for (const device of course.devices) {
    device.actions = device.state === RUNNING ? 0 : (actions[device.index] ?? 0);
    device.isToRun = paused[device.index] !== true;
  }
  yield* arm(course.devices);
  yield* setRunning(course);
  yield* releaseAll(course.devices);
}

/** A device that runs is nobody's who has not said RUN: it has been reset, or is in use for something else. */
function* discard(course: Course): Sequence<void> {
  for (const device of course.devices) device.touched = mayDiscard(device);
  const left = yield* resetAll(course.devices);
  yield* releaseAll(course.devices);
  if (left.length === 0) return;
  const names = left.map(({ name }) => name).join(', ');
  throw new StepError('ERR_STEP_FAILED', 'destination', `${names} could not be reset`);
}

function mayDiscard({ state }: DeviceCourse): boolean {
  return state !== null && state !== RUNNING;
}

/** The destination may still wait for the outcome. */
function* tell(course: SenderCourse, plan: RecoveryPlan): Sequence<void> {
  if (!plan.connected) return;
  const { problem } = yield* deliver({ group: plan.group, epoch: plan.begunEpoch });
  if (problem !== null) throw new StepError('ERR_STEP_FAILED', 'destination', problem);
  yield* cleanUp(course);
}

function told(course: Course, verdict: Verdict, trouble: string | null): Recovery {
  const { owner, actions, lost, sentences, nextSteps } = verdict;
  const failed = trouble === null ? [] : [`Not everything could be done: ${trouble}.`];
  const again = trouble === null ? [] : ['ferry recover again, when what failed is mended'];
  return {
    owner,
    acted: actions.length > 0,
    complete: trouble === null,
    states: course.devices.map(({ state }) => state),
    lost,
    outcome: [...sentences, ...failed].join(' '),
    nextSteps: [...nextSteps, ...again],
  };
}
