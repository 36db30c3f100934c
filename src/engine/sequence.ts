import { MigrationFlag, type MigrationMachine, MigrationState, stateName } from '../states/index.ts';
import { checkEnds, type Machines } from './check.ts';
import { type Convergence, decidePreCopy, type Iteration, type PreCopyLimits } from './convergence.ts';
import { begin, type Course, expect, newCourse, observe, take } from './course.ts';
import { recover } from './recovery.ts';
import { copy, dataSize, type EndNames, hook, precopyInfo, type Sequence } from './step.ts';
import { StepError } from './step-error.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;

/** What the sequence is told. */
export interface SequenceOptions {
  readonly names: EndNames;
  /** False: stop at once and move everything then. */
  readonly preCopy: boolean;
  readonly limits: PreCopyLimits;
}

/** What the sequence did. */
export interface Outcome {
  /** Rounds of PRE_COPY; 0 without it. */
  readonly iterations: number;
  /** Why PRE_COPY ended; null without it. */
  readonly convergence: Convergence | null;
}

/**
 * A whole migration, as steps that somebody else carries out. Returns when the destination has been seen RUNNING;
 * throws MigrationError, after it has undone what can be undone, in every other case.
 *
 * At no instant do both ends run with the same state: the destination is asked to run only after the source has been
 * seen in STOP, and the source runs again only if the destination was never asked, or has been reset.
 */
export function* migration(options: SequenceOptions): Sequence<Outcome> {
  const course = newCourse();
  try {
    return yield* move(course, options);
  } catch (error) {
    throw yield* recover(course, asStepError(error), options.names);
  }
}

function* move(course: Course, options: SequenceOptions): Sequence<Outcome> {
  const machines = yield* checkEnds(course, options.names);
  const both = bothHave(machines, MigrationFlag.PRE_COPY);
  const outcome = options.preCopy && both ? yield* preCopy(course, options.limits) : NO_PRE_COPY;
  yield* stop(course, machines.source, outcome.convergence !== null);
  yield* stopCopy(course);
  yield* verify(course);
  yield* switchOver(course, machines.destination);
  return outcome;
}

const NO_PRE_COPY: Outcome = { iterations: 0, convergence: null };

/** Moves the state while the source runs, until what is left is small or gets no smaller. */
function* preCopy(course: Course, limits: PreCopyLimits): Sequence<Outcome> {
  yield* begin(course, 'prepare');
  yield* take(course, 'source', PRE_COPY);
  yield* openDestination(course);
  yield* begin(course, 'pre-copy');
  const history: Iteration[] = [];
  for (;;) {
    const remaining = yield* remainingBytes();
    const decision = decidePreCopy(history, remaining, limits);
    if (decision.go === 'stop') return { iterations: history.length, convergence: decision.because };
    const copied = yield* copy(decision.limit, history.length + 1, remaining);
    history.push({ ...copied, before: decision.before });
  }
}

/**
 * RESUMING throws away what the destination has. So the source has made its first step before: if the destination has
 * made it too, both names lead to one device, and nothing has happened to it yet.
 */
function* openDestination(course: Course): Sequence<void> {
  const state = yield* observe(course, 'destination');
  if (state !== RUNNING) throw followed(state);
  yield* take(course, 'destination', RESUMING);
}

function followed(state: number): StepError {
  const why = 'both names lead to the same device, or somebody else is at work there';
  return new StepError(
    'ERR_STEP_REFUSED',
    'destination',
    `the destination has gone to ${stateName(state)}: ${why}`,
  );
}

function* remainingBytes(): Sequence<number | null> {
  const estimate = yield* precopyInfo();
  return estimate === null ? null : Number(estimate.initialBytes + estimate.dirtyBytes);
}

/** The guest stops, then the device's peer-to-peer DMA, then the device. */
function* stop(course: Course, source: MigrationMachine, saving: boolean): Sequence<void> {
  yield* begin(course, 'stop');
  yield* hook('beforeStop');
  if (has(source, MigrationFlag.P2P)) yield* take(course, 'source', saving ? PRE_COPY_P2P : RUNNING_P2P);
  yield* take(course, 'source', STOP_COPY);
  if (!saving) yield* openDestination(course);
}

/** Moves the rest. */
function* stopCopy(course: Course): Sequence<void> {
  yield* begin(course, 'stop-copy');
  const size = yield* dataSize();
  const { dry } = yield* copy(Number.POSITIVE_INFINITY, 0, size === null ? null : Number(size));
  if (!dry) throw new StepError('ERR_STEP_UNVERIFIED', 'source', "the source's data did not end");
  course.moved = true;
}

/** The destination accepts the state as complete; then, and only then, the source stops for good. */
function* verify(course: Course): Sequence<void> {
  yield* begin(course, 'verify');
  yield* take(course, 'destination', STOP);
  yield* take(course, 'source', STOP);
}

/**
 * The one moment that can't be undone is the first request to run. The VMM that attaches in the hook may have reset
 * the device, as QEMU does at start, so its state is read once more.
 */
function* switchOver(course: Course, destination: MigrationMachine): Sequence<void> {
  yield* begin(course, 'switch');
  yield* hook('beforeRun');
  yield* expect(course, 'destination', STOP);
  yield* begin(course, 'run');
  course.asked = true;
  if (has(destination, MigrationFlag.P2P)) yield* take(course, 'destination', RUNNING_P2P);
  yield* take(course, 'destination', RUNNING);
}

function bothHave(machines: Machines, flag: number): boolean {
  return has(machines.source, flag) && has(machines.destination, flag);
}

function has(machine: MigrationMachine, flag: number): boolean {
  return (machine.flags & flag) !== 0;
}

function asStepError(error: unknown): StepError {
  if (error instanceof StepError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new StepError('ERR_STEP_FAILED', 'caller', message, error);
}
