import { MigrationState } from '../../states/index.ts';
import { releaseAll } from '../claiming.ts';
import { answered, begin, hasP2p, look, requireState, type Target, take } from '../course.ts';
import type { MigrationId } from '../plan.ts';
import { isLost } from '../sender/sender-commit.ts';
import { runningToJson } from '../side-report.ts';
import { ask, carryOut, hook, journal, listenFor, perform, type Sequence, send, succeeds } from '../step.ts';
import { messageOf, StepError } from '../step-error.ts';
import { lossByReset } from '../words.ts';
import type { ReceiverCourse, ReceiverDevice } from './receiver-course.ts';

const { STOP, RUNNING, RUNNING_P2P } = MigrationState;

/** A request may fail for a reason that passes, and there is no way back. */
const ATTEMPTS = 3;

/** The devices are the destination's: from here on there is only forward. The source is told how it went, in any case. */
export function* run(course: ReceiverCourse, id: MigrationId): Sequence<void> {
  try {
    yield* start(course);
  } catch (error) {
    yield* look(course.devices);
    yield* succeeds(tell(course, id, `${messageOf(error)}${lossByReset(error)}`));
    throw error;
  }
  yield* releaseAll(course.devices);
  yield* succeeds(journal('DONE'));
  yield* conclude(course, id);
}

/** RUN is durable before anything runs. A VMM that attaches may reset a device, so they are read before and after. */
function* start(course: ReceiverCourse): Sequence<void> {
  yield* insist(() => requireState(course, course.devices, () => STOP), true);
  yield* journal('RUN');
  yield* begin(course, 'run');
  yield* arm(course.devices);
  yield* insist(() => requireState(course, course.devices, () => STOP), true);
  yield* setRunning(course);
}

/** All devices that are to run reach their P2P state before any runs; then the vCPUs do. */
export function* setRunning(course: ReceiverCourse): Sequence<void> {
  const devices = course.devices.filter(({ isToRun }) => isToRun);
  const waiting = devices.filter((device) => hasP2p(device) && device.state !== RUNNING);
  yield* go(course, waiting, () => RUNNING_P2P);
  yield* go(course, devices, () => RUNNING);
  if (devices.length === 0) return;
  yield* hook('afterRun');
  course.started = true;
}

/** Interrupts only now: the caller says when the interrupt controller is there to take them. */
export function* arm(devices: readonly ReceiverDevice[]): Sequence<void> {
  yield* hook('armInterrupts');
  const due = devices.filter(({ actions }) => actions !== 0);
  yield* insist(function* () {
    const answers = yield* ask(due.map(({ index, actions }) => ({ ask: 'actions', device: index, actions })));
    for (const answer of answers) answered(answer, 'done');
  });
}

function* go(course: ReceiverCourse, devices: readonly ReceiverDevice[], target: Target): Sequence<void> {
  yield* insist(() => take(course, devices, target));
}

/**
 * Tries again what failed. When somebody else has reset the device nothing brings its state back, and an empty one must
 * not be set running in its place: then only a look is worth repeating.
 */
function* insist(work: () => Sequence<void>, onlyLooks = false): Sequence<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return yield* work();
    } catch (error) {
      const isReset = error instanceof StepError && error.code === 'ERR_SESSION_ABORTED';
      if ((isReset && !onlyLooks) || attempt === ATTEMPTS) throw error;
    }
  }
}

function* tell(
  course: ReceiverCourse,
  { group, epoch }: MigrationId,
  problem: string | null,
): Sequence<void> {
  const states = course.devices.map(({ state }) => state ?? MigrationState.ERROR);
  const { times } = yield* perform({ do: 'times' }, 'times');
  yield* send({ kind: 'RUNNING', group, epoch, report: runningToJson({ ...times, problem, states }) });
}

/** Says that the devices run until the source, which may ask again over another connection, leaves. */
function* conclude(course: ReceiverCourse, id: MigrationId): Sequence<void> {
  yield* begin(course, 'clean-up');
  for (;;) {
    try {
      yield* tell(course, id, null);
      yield* listenFor('COMMIT');
    } catch (error) {
      if (error instanceof StepError && error.code === 'ERR_PEER_LEFT') return;
      if (!isLost(error)) return;
      if (!(yield* succeeds(carryOut({ do: 'reconnect' })))) return;
    }
  }
}
