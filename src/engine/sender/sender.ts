import { JournalError, NotDurableError } from '../../journal/index.ts';
import { MigrationFlag, MigrationState } from '../../states/index.ts';
import { claimAll, retireAll } from '../claiming.ts';
import { begin, has, requireState, take } from '../course.ts';
import type { SenderPlan } from '../plan.ts';
import { describeSide, refuseFor, requireFit } from '../preflight/check.ts';
import { type Manifest, manifestToJson } from '../preflight/manifest.ts';
import { type RunningReport, verdictFromJson } from '../side-report.ts';
import { carryOut, expect, journal, type Sequence, send } from '../step.ts';
import { asStepError, StepError } from '../step-error.ts';
import type { Convergence } from './convergence.ts';
import { preCopy } from './pre-copy.ts';
import { finishSender } from './sender-aftermath.ts';
import { afterCommit } from './sender-commit.ts';
import { newSenderCourse, type SenderCourse } from './sender-course.ts';
import { openDestination, stopDevices, stopGuest } from './stop.ts';
import { stopCopy } from './stop-copy.ts';

const { STOP, RUNNING, STOP_COPY, PRE_COPY } = MigrationState;

/** What the sending side did. */
export interface SenderOutcome {
  /** Rounds of PRE_COPY; 0 without it. */
  readonly iterations: number;
  /** Why PRE_COPY ended; null without it. */
  readonly convergence: Convergence | null;
  /** What is worth knowing. */
  readonly notes: readonly string[];
  /** What the other side told of its part; null in a dry run. */
  readonly destination: RunningReport | null;
}

/**
 * The sending side of a migration, as steps that somebody else carries out. Returns when the destination runs and the
 * source has stopped for good; throws MigrationError, after it has undone what can be undone, in every other case.
 *
 * The source runs again only as long as no COMMIT is in its journal. It says COMMIT only after the record is durable.
 */
export function* sender(plan: SenderPlan): Sequence<SenderOutcome> {
  const course = newSenderCourse(plan);
  try {
    return yield* move(course, plan);
  } catch (error) {
    throw yield* finishSender(course, plan, asStepError(error));
  }
}

function* move(course: SenderCourse, plan: SenderPlan): Sequence<SenderOutcome> {
  const manifest = yield* describe(course, plan);
  const { notes, destination } = yield* compare(course, manifest);
  if (plan.dryRun) return { iterations: 0, convergence: null, notes, destination: null };
  yield* prepare(course, plan, destination);
  const convergence = yield* preCopy(course, plan);
  if (convergence === null) yield* stopGuest(course, plan);
  yield* stopDevices(course);
  yield* stopCopy(course, plan);
  yield* begin(course, 'verify');
  yield* expect('READY');
  yield* commit(course);
  const report = yield* afterCommit(course, plan);
  return {
    iterations: course.iterations,
    convergence,
    notes: [...notes, ...report.notes],
    destination: report.running,
  };
}

function* describe(course: SenderCourse, plan: SenderPlan): Sequence<Manifest> {
  const { memory, paused, force } = plan;
  const manifest = yield* describeSide(course, { memory, paused, force });
  requireFit(course, manifest);
  course.devices.forEach((device, i) => {
    device.need = manifest.devices[i]?.configuration ?? null;
    device.home = device.state === STOP ? STOP : RUNNING;
  });
  return manifest;
}

interface Comparison {
  readonly notes: readonly string[];
  /** The migration flags of the destination's devices. */
  readonly destination: readonly number[];
}

function* compare(course: SenderCourse, manifest: Manifest): Sequence<Comparison> {
  yield* send({ kind: 'MANIFEST', manifest: manifestToJson(manifest) });
  const verdict = verdictFromJson((yield* expect('VERDICT')).verdict);
  if (verdict === null || (verdict.reasons.length === 0 && verdict.flags.length !== course.devices.length)) {
    throw new StepError('ERR_PEER_PROTOCOL', 'destination', 'the destination sent a verdict that is none');
  }
  refuseFor(course, verdict.reasons);
  return { notes: verdict.notes, destination: verdict.flags };
}

/** The journal knows before anything is changed; what runs during the move begins to be saved. */
function* prepare(course: SenderCourse, plan: SenderPlan, destination: readonly number[]): Sequence<void> {
  yield* begin(course, 'prepare');
  yield* journal('BEGIN', { paused: course.devices.map(({ home }) => home === STOP) });
  course.begun = true;
  yield* claimAll(course);
  for (const device of course.devices) {
    const both =
      has(device, MigrationFlag.PRE_COPY) &&
      ((destination[device.index] ?? 0) & MigrationFlag.PRE_COPY) !== 0;
    device.preCopy = both && plan.preCopy && !plan.paused && device.state === RUNNING;
  }
  if (plan.memory.length > 0) yield* carryOut({ do: 'memory', what: 'start' });
  const moving = course.devices.filter((device) => device.preCopy);
  yield* take(course, moving, () => PRE_COPY);
  if (moving.length > 0 || (plan.memory.length > 0 && !plan.paused)) yield* openDestination(course);
}

/**
 * The devices are read once more: they have to be where they were left. Retired, nothing makes them run again. Then
 * the record that decides; only a source that certainly has not written it may go back.
 */
function* commit(course: SenderCourse): Sequence<void> {
  yield* begin(course, 'switch');
  yield* requireState(course, course.devices, () => STOP_COPY);
  course.retiring = true;
  yield* retireAll(course.devices);
  try {
    yield* journal('COMMIT');
  } catch (error) {
    course.committed = isWithdrawn(error) ? 'no' : 'uncertain';
    throw error;
  }
  course.committed = 'yes';
}

/** Whether a record that could not be made durable is certainly not in the journal. */
function isWithdrawn(error: unknown): boolean {
  const cause = error instanceof StepError ? error.cause : error;
  return cause instanceof NotDurableError ? cause.withdrawn : cause instanceof JournalError;
}
