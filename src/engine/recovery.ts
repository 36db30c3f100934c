import { isRunning, MigrationState, parseState, stateName } from '../states/index.ts';
import { type Course, observe } from './course.ts';
import { type Aftermath, MigrationError, type MigrationErrorCode, type Owner } from './migration-error.ts';
import { type EndName, type EndNames, enterPhase, reset, type Sequence, setState } from './step.ts';
import type { StepError } from './step-error.ts';

/** What a recovery found, before it is put into words for its phase and states. */
type Finding = Pick<Aftermath, 'owner' | 'outcome' | 'nextSteps'>;

/**
 * Undoes what a failed migration did, as far as that is safe, and finds out who has the device. Never throws a
 * StepError itself: an end that does not answer is part of the finding.
 */
export function* recover(course: Course, reason: StepError, names: EndNames): Sequence<MigrationError> {
  const typed = { source: asTyped(names.source), destination: asTyped(names.destination) };
  const finding = course.touched.size === 0 ? untouched(course, typed) : yield* rollBack(course, typed);
  return new MigrationError(codeOf(reason), reason, {
    ...finding,
    phase: course.phase,
    sourceState: course.states.get('source') ?? null,
    destinationState: course.states.get('destination') ?? null,
  });
}

function* rollBack(course: Course, names: EndNames): Sequence<Finding> {
  yield* enterPhase('roll-back');
  return course.asked ? yield* afterAsking(course, names) : yield* beforeAsking(course, names);
}

/** The destination has never been asked to run. */
function* beforeAsking(course: Course, names: EndNames): Sequence<Finding> {
  if (course.moved && runs(course.states.get('destination') ?? null)) return yield* resetFirst(course, names);
  if (course.moved && !isStopped(yield* attemptToObserve(course, 'source')))
    return yield* keepBoth(course, names);
  const source = yield* bringSourceBack(course);
  if (course.moved && !runs(source)) return yield* keepBoth(course, names);
  const isReset = yield* resetDestination(course);
  return isReset ? rolledBack(source, names) : destinationLeft(source, names);
}

/** The destination has been asked to run, so it may: only its own answer tells. */
function* afterAsking(course: Course, names: EndNames): Sequence<Finding> {
  const destination = yield* attemptToObserve(course, 'destination');
  if (runs(destination)) return runsAtDestination(destination, names);
  const source = yield* attemptToObserve(course, 'source');
  if (!isKnown(destination) || source !== MigrationState.STOP) return inDoubt(course, names);
  return yield* resetFirst(course, names);
}

/** The source runs again only once the destination has certainly forgotten the state. */
function* resetFirst(course: Course, names: EndNames): Sequence<Finding> {
  if (!(yield* resetDestination(course))) return inDoubt(course, names);
  return rolledBack(yield* bringSourceBack(course), names);
}

/** The source has not got it, or does not answer: what the destination was given may be the only copy. */
function* keepBoth(course: Course, names: EndNames): Sequence<Finding> {
  yield* attemptToObserve(course, 'destination');
  const tail = 'It was given the whole state and left as it is: it may hold the only copy';
  const outcome = `${said(course, 'source')}. ${said(course, 'destination')}. ${tail}`;
  return { owner: 'in doubt', outcome, nextSteps: eitherSteps(names) };
}

/** Asks the source to run, and reads where it is; null when it does not answer. */
function* bringSourceBack(course: Course): Sequence<number | null> {
  yield* succeeds(setState('source', MigrationState.RUNNING));
  return yield* attemptToObserve(course, 'source');
}

function* resetDestination(course: Course): Sequence<boolean> {
  if (!course.touched.has('destination')) return true;
  if (!(yield* succeeds(reset('destination')))) {
    yield* attemptToObserve(course, 'destination');
    return false;
  }
  return (yield* attemptToObserve(course, 'destination')) === MigrationState.RUNNING;
}

function* attemptToObserve(course: Course, end: EndName): Sequence<number | null> {
  yield* succeeds(observe(course, end));
  return course.states.get(end) ?? null;
}

function* succeeds(work: Sequence<unknown>): Sequence<boolean> {
  try {
    yield* work;
    return true;
  } catch {
    return false;
  }
}

function runs(state: number | null): boolean {
  const known = state === null ? null : parseState(state);
  return known !== null && isRunning(known);
}

/** Where the source waits once its whole state has been read. Elsewhere, somebody else has got at it. */
function isStopped(state: number | null): boolean {
  return state === MigrationState.STOP || state === MigrationState.STOP_COPY;
}

/** The device answered with a state in which we know what it is able to do. */
function isKnown(state: number | null): boolean {
  return state !== null && parseState(state) !== null;
}

function untouched(course: Course, names: EndNames): Finding {
  const source = course.states.get('source');
  const asBefore = source === undefined || runs(source);
  return {
    owner: asBefore ? 'source' : 'in doubt',
    outcome: 'Nothing was changed',
    nextSteps: asBefore ? [] : [`ferry inspect ${names.source}`, `ferry inspect ${names.destination}`],
  };
}

function rolledBack(source: number | null, names: EndNames): Finding {
  const tail = 'The destination does not have it';
  if (runs(source)) {
    return { owner: 'source', outcome: `The device runs on at the source. ${tail}`, nextSteps: [] };
  }
  const { owner, where } = atSource(source);
  return { owner, outcome: `${where}. ${tail}`, nextSteps: sourceSteps(names) };
}

function destinationLeft(source: number | null, names: EndNames): Finding {
  const tail = 'The destination could not be reset; it was never asked to run';
  const again = `ferry state ${names.destination} --reset`;
  if (runs(source)) {
    return { owner: 'source', outcome: `The device runs on at the source. ${tail}`, nextSteps: [again] };
  }
  const { owner, where } = atSource(source);
  return { owner, outcome: `${where}. ${tail}`, nextSteps: [...sourceSteps(names), again] };
}

function runsAtDestination(destination: number | null, names: EndNames): Finding {
  const state = stateName(destination ?? MigrationState.ERROR);
  return {
    owner: 'destination',
    outcome: `The device runs at the destination (${state}); the source has stopped for good`,
    nextSteps:
      destination === MigrationState.RUNNING ? [] : [`ferry state ${names.destination} --set RUNNING`],
  };
}

function inDoubt(course: Course, names: EndNames): Finding {
  const [source, destination] = [said(course, 'source'), said(course, 'destination')];
  const outcome = `Who has the device can't be told from here. ${source}. ${destination}`;
  return { owner: 'in doubt', outcome, nextSteps: eitherSteps(names) };
}

function said(course: Course, end: EndName): string {
  const state = course.states.get(end);
  return state === undefined ? `The ${end} does not answer` : `The ${end} is in ${stateName(state)}`;
}

function atSource(source: number | null): { readonly owner: Owner; readonly where: string } {
  if (source === null) return { owner: 'in doubt', where: 'The source does not answer' };
  const state = stateName(source);
  const usable = isKnown(source) && source !== MigrationState.ERROR;
  return { owner: usable ? 'source' : 'in doubt', where: `The source is in ${state} and did not run again` };
}

function sourceSteps(names: EndNames): readonly string[] {
  return [`ferry inspect ${names.source}`, `ferry state ${names.source} --set RUNNING`];
}

function eitherSteps(names: EndNames): readonly string[] {
  return [
    `ferry inspect ${names.source}`,
    `ferry inspect ${names.destination}`,
    `if neither runs, choose one: ferry state ${names.source} --set RUNNING, after ferry state ${names.destination} --reset`,
    `or, once the source is certain never to run again: ferry state ${names.destination} --set RUNNING`,
  ];
}

/** A path as it is typed in a command. */
function asTyped(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

function codeOf(reason: StepError): MigrationErrorCode {
  if (reason.code === 'ERR_STEP_REFUSED') return 'ERR_MIGRATION_REFUSED';
  if (reason.code === 'ERR_STEP_CANCELLED') return 'ERR_MIGRATION_CANCELLED';
  if (reason.code === 'ERR_SESSION_ABORTED') return 'ERR_SESSION_ABORTED';
  return 'ERR_MIGRATION_FAILED';
}
