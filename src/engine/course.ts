import { Errno, FerryError } from '../errors/index.ts';
import {
  isRunning,
  MigrationFlag,
  type MigrationMachine,
  MigrationState,
  parseState,
  RESET_STATE,
  stateName,
} from '../states/index.ts';
import type { Phase } from './phase.ts';
import type { SidePlan } from './plan.ts';
import { ask, carryOut, type DeviceAnswer, type DeviceRequest, type EndName, type Sequence } from './step.ts';
import { StepError } from './step-error.ts';

/** One device of the group, as one side knows it. */
export interface DeviceCourse {
  /** Its number in the group. */
  readonly index: number;
  /** How people and commands call it. */
  readonly name: string;
  machine: MigrationMachine | null;
  /** The state last read; null when it did not answer, or was not asked. */
  state: number | null;
  /** Its state was changed, or may have been. */
  touched: boolean;
  /** Its server knows claims. */
  readonly claimable: boolean;
  /** It is tied to this migration, or may be. */
  claimed: boolean;
}

/** What one side has done so far: all that a recovery needs to know. */
export interface Course {
  readonly end: EndName;
  readonly devices: readonly DeviceCourse[];
  phase: Phase;
}

/** The course of a side that has not begun. */
export function newCourse(end: EndName, { names, claims }: SidePlan): Course {
  const devices = names.map((name, index) => ({
    index,
    name,
    machine: null,
    state: null,
    touched: false,
    claimable: claims[index] ?? false,
    claimed: false,
  }));
  return { end, devices, phase: 'check' };
}

/** Begins a phase. */
export function* begin(course: Course, phase: Phase): Sequence<void> {
  yield* carryOut({ do: 'phase', phase });
  course.phase = phase;
}

/** The same question to several devices. All are asked, then the first failure is thrown. */
export function* askAll<A extends DeviceAnswer['is']>(
  devices: readonly DeviceCourse[],
  question: Extract<DeviceRequest, { readonly ask: Plain }>['ask'],
  kind: A,
): Sequence<readonly Extract<DeviceAnswer, { is: A }>[]> {
  const answers = yield* ask(devices.map(({ index }) => ({ ask: question, device: index })));
  return answers.map((answer) => answered(answer, kind));
}

type Plain = Exclude<DeviceRequest['ask'], 'setState' | 'actions'>;

/** The answer, if it is of this kind. Throws the failure that it is otherwise. */
export function answered<A extends DeviceAnswer['is']>(
  answer: DeviceAnswer | undefined,
  kind: A,
): Extract<DeviceAnswer, { is: A }> {
  if (answer?.is === 'failed') throw answer.error;
  if (answer === undefined || !isAnswer(answer, kind)) throw new TypeError(`no answer of the kind ${kind}`);
  return answer;
}

function isAnswer<A extends DeviceAnswer['is']>(
  answer: DeviceAnswer,
  kind: A,
): answer is Extract<DeviceAnswer, { is: A }> {
  return answer.is === kind;
}

/** Reads states and remembers them. A device that does not answer has null; nothing is thrown. */
export function* look(devices: readonly DeviceCourse[]): Sequence<readonly (StepError | null)[]> {
  for (const device of devices) device.state = null;
  const answers = yield* ask(devices.map(({ index }) => ({ ask: 'state', device: index })));
  return devices.map((device, i) => {
    const answer = answers[i];
    if (answer?.is === 'state') device.state = answer.state;
    return answer?.is === 'failed' ? answer.error : null;
  });
}

/** Reads states; throws when one does not answer. */
export function* observe(devices: readonly DeviceCourse[]): Sequence<void> {
  for (const error of yield* look(devices)) if (error !== null) throw error;
}

/** Where each device is to go. */
export type Target = (device: DeviceCourse) => MigrationState;

/** Takes devices to a state, all at once, and makes sure, by reading it back, that they are there. */
export function* take(course: Course, devices: readonly DeviceCourse[], target: Target): Sequence<void> {
  if (devices.length === 0) return;
  const answers = yield* ask(
    devices.map((device) => ({ ask: 'setState', device: device.index, state: target(device) })),
  );
  devices.forEach((device, i) => {
    const answer = answers[i];
    device.touched ||= answer?.is !== 'failed' || !isHeldByAnother(answer.error);
  });
  for (const answer of answers) answered(answer, 'done');
  yield* requireState(course, devices, target);
}

/** Makes sure that devices are still in the state where this migration has put them. */
export function* requireState(
  course: Course,
  devices: readonly DeviceCourse[],
  target: Target,
): Sequence<void> {
  yield* observe(devices);
  for (const device of devices) {
    if (device.state !== target(device)) throw strayed(course, device, target(device));
  }
}

function strayed(course: Course, device: DeviceCourse, expected: MigrationState): StepError {
  const who = calling(course.end, device.index, device.name, course.devices.length);
  const reached = stateName(device.state ?? MigrationState.ERROR);
  if (device.state === RESET_STATE) {
    const message = `${who} is in RUNNING and no longer in ${stateName(expected)}: somebody else has reset it`;
    return new StepError('ERR_SESSION_ABORTED', course.end, message);
  }
  const message = `${who} is in ${reached} although it accepted to go to ${stateName(expected)}`;
  return new StepError('ERR_STEP_UNVERIFIED', course.end, message);
}

/** How an error calls a device: by its end alone, or by its number and name too when there are several. */
export function calling(end: EndName, index: number, name: string, count: number): string {
  return count === 1 ? `the ${end}` : `the ${end}'s device ${index} (${name})`;
}

/** Whether a device's machine has a capability. */
export function has({ machine }: DeviceCourse, flag: number): boolean {
  return machine !== null && (machine.flags & flag) !== 0;
}

/** Whether a device has the P2P states. */
export function hasP2p(device: DeviceCourse): boolean {
  return has(device, MigrationFlag.P2P);
}

/** Whether a state, as it was read, is one in which the device runs. */
export function runs(state: number | null): boolean {
  const known = state === null ? null : parseState(state);
  return known !== null && isRunning(known);
}

/** Whether a device is stopped with its state in it. */
export function isStopped(state: number | null): boolean {
  return state === MigrationState.STOP || state === MigrationState.STOP_COPY;
}

/** Another controller's session is open there: what it does is not ours to undo. */
export function isHeldByAnother(error: StepError): boolean {
  return error.code === 'ERR_STEP_FAILED' && error.cause instanceof FerryError && error.errno === Errno.EBUSY;
}
