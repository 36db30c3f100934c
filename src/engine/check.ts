import { FerryError } from '../errors/index.ts';
import { type MigrationMachine, MigrationState, migrationMachine, stateName } from '../states/index.ts';
import { type Course, observe } from './course.ts';
import type { EndInspection } from './migration-end.ts';
import { type EndName, type EndNames, inspect, readFlags, type Sequence } from './step.ts';
import { StepError } from './step-error.ts';

/** The state machines of both ends. */
export type Machines = Readonly<Record<EndName, MigrationMachine>>;

/**
 * Makes sure, without changing anything, that a migration can start: both devices can migrate, both are RUNNING,
 * nobody else is at it, and they are the same kind of device.
 */
export function* checkEnds(course: Course, names: EndNames): Sequence<Machines> {
  if (names.source === names.destination) {
    throw refused('destination', `${names.source} can't be both the source and the destination`);
  }
  const source = yield* checkEnd(course, 'source');
  const destination = yield* checkEnd(course, 'destination');
  compareIdentity(source.inspection, destination.inspection);
  return { source: source.machine, destination: destination.machine };
}

function* checkEnd(
  course: Course,
  end: EndName,
): Sequence<{ machine: MigrationMachine; inspection: EndInspection }> {
  const machine = machineOf(end, yield* readFlags(end));
  const inspection = yield* inspect(end);
  if (inspection.busy !== null) throw refused(end, `the ${end} is busy: ${inspection.busy}`);
  const state = yield* observe(course, end);
  if (state !== MigrationState.RUNNING) {
    throw refused(end, `the ${end} is in ${stateName(state)}, and a migration starts from RUNNING`);
  }
  return { machine, inspection };
}

function machineOf(end: EndName, flags: bigint | null): MigrationMachine {
  if (flags === null) throw refused(end, `the device at the ${end} can't migrate`);
  try {
    return migrationMachine(flags);
  } catch (error) {
    const why = error instanceof FerryError ? error.message : String(error);
    throw new StepError('ERR_STEP_REFUSED', end, `the device at the ${end} can't migrate: ${why}`, error);
  }
}

/** What only one of them names is not compared: they may be of different versions. */
function compareIdentity(source: EndInspection, destination: EndInspection): void {
  if (source.identity === null || destination.identity === null) return;
  for (const [name, there] of Object.entries(destination.identity)) {
    const here = source.identity[name];
    if (here === undefined || here === there) continue;
    const difference = `${name} is ${printed(here)} at the source and ${printed(there)} at the destination`;
    throw refused('destination', `the two devices are not the same: ${difference}`);
  }
}

function printed(value: string | number): string {
  return typeof value === 'number' ? `0x${value.toString(16)}` : value;
}

function refused(end: EndName, message: string): StepError {
  return new StepError('ERR_STEP_REFUSED', end, message);
}
