import { Errno } from '../errors/index.ts';
import { type MigrationState, RESET_STATE, stateName } from '../states/index.ts';
import type { Phase } from './phase.ts';
import { type EndName, enterPhase, readState, type Sequence, setState } from './step.ts';
import { StepError } from './step-error.ts';

/** What a migration has done so far: all that a recovery needs to know. */
export interface Course {
  phase: Phase;
  /** Ends whose state was changed, or may have been. */
  readonly touched: Set<EndName>;
  /** The state last read from each end. */
  readonly states: Map<EndName, number>;
  /** The destination has been given the whole state: it may be the only one that still has it. */
  moved: boolean;
  /** The destination has been asked to run: from here on it may. */
  asked: boolean;
}

/** The course of a migration that has not begun. */
export function newCourse(): Course {
  return { phase: 'check', touched: new Set(), states: new Map(), moved: false, asked: false };
}

/** Begins a phase. */
export function* begin(course: Course, phase: Phase): Sequence<void> {
  yield* enterPhase(phase);
  course.phase = phase;
}

/** Reads a state and remembers it. */
export function* observe(course: Course, end: EndName): Sequence<number> {
  course.states.delete(end);
  const state = yield* readState(end);
  course.states.set(end, state);
  return state;
}

/** Takes an end to a state and makes sure, by reading it back, that it is there. */
export function* take(course: Course, end: EndName, state: MigrationState): Sequence<void> {
  try {
    yield* setState(end, state);
  } catch (error) {
    if (!isHeldByAnother(error)) course.touched.add(end);
    throw error;
  }
  course.touched.add(end);
  yield* expect(course, end, state);
}

/** Makes sure that an end is still in the state where this migration has put it. */
export function* expect(course: Course, end: EndName, state: MigrationState): Sequence<void> {
  const reached = yield* observe(course, end);
  if (reached === state) return;
  if (reached === RESET_STATE) {
    const message = `the ${end} is in RUNNING and no longer in ${stateName(state)}: somebody else has reset it`;
    throw new StepError('ERR_SESSION_ABORTED', end, message);
  }
  const message = `the ${end} is in ${stateName(reached)} although it accepted to go to ${stateName(state)}`;
  throw new StepError('ERR_STEP_UNVERIFIED', end, message);
}

/** Another controller's session is open there: what it does is not ours to undo. */
function isHeldByAnother(error: unknown): boolean {
  return error instanceof StepError && error.code === 'ERR_STEP_FAILED' && error.errno === Errno.EBUSY;
}
