import { stateName } from '../states/index.ts';
import type { DeviceCourse } from './course.ts';
import { StepError } from './step-error.ts';

/** "The device runs" or "The devices run": a noun and the ending of its verb. */
export interface Grammar {
  /** `The device` or `The devices`. */
  readonly subject: string;
  /** `it` or `them`. */
  readonly object: string;
  /** `s` after one device. */
  readonly s: string;
  /** `is` or `are`. */
  readonly is: string;
  /** `has` or `have`. */
  readonly has: string;
}

/** How to speak of so many devices. */
export function grammarOf(count: number): Grammar {
  return count === 1
    ? { subject: 'The device', object: 'it', s: 's', is: 'is', has: 'has' }
    : { subject: 'The devices', object: 'them', s: '', is: 'are', has: 'have' };
}

/** A path as it is typed in a command. */
export function asTyped(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** Where the devices of an end are: `The source is in STOP_COPY`. */
export function whereabouts(end: string, devices: readonly DeviceCourse[]): string {
  if (devices.length === 1) return `The ${end} ${placed(devices[0]?.state ?? null)}`;
  return devices.map(({ index, state }) => `Device ${index} of the ${end} ${placed(state)}`).join('. ');
}

function placed(state: number | null): string {
  return state === null ? 'does not answer' : `is in ${stateName(state)}`;
}

/**
 * What a recovery can't bring back, as a sentence: state that existed only in a process that has ended. Null when every
 * device is the one that it was.
 */
export function lossOf(devices: readonly DeviceCourse[], replaced: readonly boolean[]): string | null {
  const gone = devices.filter(({ index, state }) => replaced[index] === true || state === null);
  if (gone.length === 0) return null;
  const names = gone.map(({ name }) => name).join(', ');
  const unsure = gone.every(({ index }) => replaced[index] !== true);
  const silent = unsure
    ? `${names} can't be reached. If its server has been killed, the`
    : `The server of ${names} has been killed: the`;
  return `${silent} state that existed only there is lost`;
}

/** What follows when somebody else has reset a device that had been given a state: '' when nobody has. */
export function lossByReset(error: unknown): string {
  const isReset = error instanceof StepError && error.code === 'ERR_SESSION_ABORTED';
  return isReset ? '. What it was given is lost there; the source still has it, stopped' : '';
}
