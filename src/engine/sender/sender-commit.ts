import { MigrationState } from '../../states/index.ts';
import { begin, take } from '../course.ts';
import type { MigrationId } from '../plan.ts';
import { type RunningReport, runningFromJson } from '../side-report.ts';
import { carryOut, expect, journal, type Sequence, send } from '../step.ts';
import { messageOf, StepError } from '../step-error.ts';
import type { SenderCourse } from './sender-course.ts';

/** What came after the commit. */
export interface Delivery {
  readonly running: RunningReport;
  /** What could not be cleaned up. */
  readonly notes: readonly string[];
}

/** The destination owns the devices. Tells it so until it says that they run, and cleans up here. */
export function* afterCommit(course: SenderCourse, id: MigrationId): Sequence<Delivery> {
  yield* begin(course, 'run');
  const running = yield* deliver(id);
  if (running.problem !== null) throw new StepError('ERR_STEP_FAILED', 'destination', running.problem);
  yield* begin(course, 'clean-up');
  return { running, notes: yield* cleanUp(course) };
}

/** Only the way may be lost. The destination does not mind being told twice. */
export function* deliver({ group, epoch }: MigrationId): Sequence<RunningReport> {
  for (;;) {
    try {
      yield* send({ kind: 'COMMIT', group, epoch });
      return yield* untilRunning();
    } catch (error) {
      if (!isLost(error)) throw error;
      yield* carryOut({ do: 'reconnect' });
    }
  }
}

/** Whether the way to the other side ended, and nothing else is wrong. */
export function isLost(error: unknown): boolean {
  return error instanceof StepError && (error.code === 'ERR_CHANNEL_LOST' || error.code === 'ERR_PEER_LEFT');
}

/** A destination that was reached anew says READY again. */
function* untilRunning(): Sequence<RunningReport> {
  for (;;) {
    const message = yield* expect('RUNNING', 'READY');
    if (message.kind === 'READY') continue;
    const report = runningFromJson(message.report);
    if (report !== null) return report;
    throw new StepError(
      'ERR_PEER_PROTOCOL',
      'destination',
      'the destination runs, and sent a report that is none',
    );
  }
}

/** The guest runs elsewhere already: what fails here is worth a note, and no more. */
export function* cleanUp(course: SenderCourse): Sequence<readonly string[]> {
  const notes: string[] = [];
  const attempt = function* (work: Sequence<void>, what: string): Sequence<void> {
    try {
      yield* work;
    } catch (error) {
      notes.push(`${what}: ${messageOf(error)}`);
    }
  };
  yield* attempt(
    take(course, course.devices, () => MigrationState.STOP),
    'the source has not been cleaned up; it has stopped, and stays so',
  );
  yield* attempt(journal('DONE'), 'the journal of the source could not be closed');
  return notes;
}
