import type { MessageKind, MessageOf } from '../../channel/index.ts';
import { MigrationState, stateName } from '../../states/index.ts';
import { claimAll } from '../claiming.ts';
import { begin, observe, requireState, take } from '../course.ts';
import type { MigrationId, SidePlan } from '../plan.ts';
import { adoptMachines, describeSide } from '../preflight/check.ts';
import { manifestFromJson } from '../preflight/manifest.ts';
import { compareManifests } from '../preflight/preflight.ts';
import { isLost } from '../sender/sender-commit.ts';
import { reasonFromJson, verdictToJson } from '../side-report.ts';
import { carryOut, hook, journal, listenFor, perform, type Sequence, send } from '../step.ts';
import { asStepError, StepError } from '../step-error.ts';
import { finishReceiver } from './receiver-aftermath.ts';
import { newReceiverCourse, type ReceiverCourse } from './receiver-course.ts';
import { run } from './receiver-run.ts';

const { STOP, RUNNING, RESUMING } = MigrationState;

/** What the receiving side did. */
export interface ReceiverOutcome {
  /** False: the source only asked whether it would work. */
  readonly received: boolean;
  /** The states of its devices. */
  readonly states: readonly (number | null)[];
}

/**
 * The receiving side of a migration, as steps that somebody else carries out. Returns when its devices run, or stay
 * stopped with their paused guest; throws MigrationError, after it has undone what can be undone, in every other case.
 *
 * No device runs before COMMIT was heard and RUN is durable; from READY until then nothing is discarded either.
 */
export function* receiver(plan: SidePlan): Sequence<ReceiverOutcome> {
  const course = newReceiverCourse(plan);
  try {
    return yield* move(course, plan);
  } catch (error) {
    throw yield* finishReceiver(course, plan, asStepError(error));
  }
}

function* move(course: ReceiverCourse, plan: SidePlan): Sequence<ReceiverOutcome> {
  yield* compare(course, plan);
  if (!(yield* isWanted(course)))
    return { received: false, states: course.devices.map(({ state }) => state) };
  yield* open(course);
  yield* load(course, plan);
  yield* verify(course, plan);
  yield* untilCommitted(course, plan);
  yield* run(course, plan);
  return { received: true, states: course.devices.map(({ state }) => state) };
}

function* compare(course: ReceiverCourse, plan: SidePlan): Sequence<void> {
  const source = manifestFromJson((yield* listen(course, 'MANIFEST')).manifest);
  if (source === null)
    throw new StepError('ERR_PEER_PROTOCOL', 'source', 'the source sent a manifest that is none');
  const { memory } = plan;
  const manifest = yield* describeSide(course, { memory, paused: false, force: false });
  const { reasons, notes } = compareManifests(source, manifest);
  const flags = reasons.length > 0 ? [] : manifest.devices.map((device) => device.flags ?? 0);
  yield* send({ kind: 'VERDICT', verdict: verdictToJson({ reasons, notes, flags }) });
  if (reasons.length > 0) throw new StepError('ERR_STEP_REFUSED', 'destination', reasons.join('; '));
  adoptMachines(course, manifest);
  course.devices.forEach((device, i) => {
    device.isToRun = source.devices[i]?.state !== STOP;
  });
}

/** False: the source leaves after the comparison. */
function* isWanted(course: ReceiverCourse): Sequence<boolean> {
  try {
    yield* listen(course, 'OPEN');
    return true;
  } catch (error) {
    if (error instanceof StepError && error.code === 'ERR_PEER_LEFT') return false;
    throw error;
  }
}

/**
 * RESUMING throws away what the devices have. The source has made its first step before: if these have made it too,
 * both names lead to one device, and nothing has happened to it yet.
 */
function* open(course: ReceiverCourse): Sequence<void> {
  yield* begin(course, 'prepare');
  yield* journal('BEGIN', { paused: course.devices.map(({ isToRun }) => !isToRun) });
  course.begun = true;
  yield* observe(course.devices);
  for (const { state } of course.devices) if (state !== RUNNING) throw followed(state);
  yield* claimAll(course);
  yield* take(course, course.devices, () => RESUMING);
  yield* carryOut({ do: 'load' });
  course.opened = true;
  yield* send({ kind: 'OPENED' });
}

function followed(state: number | null): StepError {
  const why = 'both names lead to the same device, or somebody else is at work there';
  const message = `the destination has gone to ${stateName(state ?? 0)}: ${why}`;
  return new StepError('ERR_STEP_REFUSED', 'destination', message);
}

/** Data goes to the devices as it arrives; here is what is to be answered or remembered. */
function* load(course: ReceiverCourse, plan: MigrationId): Sequence<void> {
  yield* begin(course, 'pre-copy');
  for (;;) {
    const message = yield* listen(course, 'SYNC', 'INITIAL', 'ACTIONS', 'COMPLETE');
    if (message.kind === 'COMPLETE') return yield* complete(course, plan, message);
    if (message.kind === 'ACTIONS') {
      const device = course.devices[message.device];
      if (device !== undefined) device.actions |= message.actions;
      continue;
    }
    const { bytes } = yield* perform({ do: 'drain' }, 'bytes');
    if (message.kind === 'SYNC') yield* send({ kind: 'SYNCED', id: message.id, bytes });
    else yield* send({ kind: 'INITIAL_LOADED', device: message.device });
  }
}

function* complete(
  course: ReceiverCourse,
  plan: MigrationId,
  message: MessageOf<'COMPLETE'>,
): Sequence<void> {
  requireSame(plan, message);
  yield* perform({ do: 'drain' }, 'bytes');
  yield* carryOut({ do: 'totals', totals: message.totals });
  course.moved = true;
}

/**
 * Everything that can fail comes before READY: the devices accept the state as complete, and whoever owns their main
 * connections prepares there. A VMM that attaches may reset a device, as QEMU does at start, so they are read again.
 */
function* verify(course: ReceiverCourse, { group, epoch }: MigrationId): Sequence<void> {
  yield* begin(course, 'verify');
  yield* take(course, course.devices, () => STOP);
  yield* hook('beforeRun');
  yield* requireState(course, course.devices, () => STOP);
  yield* journal('READY', { actions: course.devices.map(({ actions }) => actions) });
  course.ready = true;
  yield* begin(course, 'switch');
  try {
    yield* send({ kind: 'READY', group, epoch });
  } catch (error) {
    if (!isLost(error)) throw error;
  }
}

/** The outcome is the source's to tell. When the way to it is lost, it comes again. */
function* untilCommitted(course: ReceiverCourse, plan: MigrationId): Sequence<void> {
  for (;;) {
    try {
      requireSame(plan, yield* listen(course, 'COMMIT'));
      course.committed = true;
      return;
    } catch (error) {
      if (!isLost(error)) throw error;
      yield* carryOut({ do: 'reconnect' });
      yield* send({ kind: 'READY', group: plan.group, epoch: plan.epoch });
    }
  }
}

function requireSame(plan: MigrationId, message: MigrationId): void {
  if (message.group === plan.group && message.epoch === plan.epoch) return;
  throw new StepError('ERR_PEER_PROTOCOL', 'source', 'the source speaks of another migration');
}

/** The next message, unless the source says that the migration is off. */
function* listen<K extends MessageKind>(
  course: ReceiverCourse,
  ...kinds: readonly K[]
): Sequence<MessageOf<K>> {
  const message: MessageOf<K | 'ABORT'> = yield* listenFor<K | 'ABORT'>(...kinds, 'ABORT');
  if (!isAbort(message)) return message;
  course.abortedByPeer = true;
  throw reasonFromJson(message.reason, 'source');
}

function isAbort<K extends MessageKind>(message: MessageOf<K | 'ABORT'>): message is MessageOf<'ABORT'> {
  return message.kind === 'ABORT';
}
