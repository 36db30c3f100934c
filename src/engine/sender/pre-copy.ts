import { answered, begin } from '../course.ts';
import type { PrecopyEstimate } from '../migration-end.ts';
import type { SenderPlan } from '../plan.ts';
import { ask, type CopyOrder, carryOut, expect, hook, perform, type Sequence, send } from '../step.ts';
import { StepError } from '../step-error.ts';
import {
  BLIND_ITERATION,
  type Convergence,
  decidePreCopy,
  type Iteration,
  restAfter,
} from './convergence.ts';
import { type DeviceRest, restOf, sumOf } from './rest.ts';
import type { SenderCourse, SenderDevice } from './sender-course.ts';
import { stopGuest } from './stop.ts';
import { sendConfigurationAhead } from './stop-copy.ts';

/** What is left of everything, as far as known. */
interface Rest {
  readonly devices: ReadonlyMap<SenderDevice, DeviceRest>;
  /** Bytes of guest memory. */
  readonly memory: number;
  /** Bytes in all; null when somebody can't tell. */
  readonly total: number | null;
}

/**
 * Moves the state while the guest runs, until what is left fits into the blackout that is allowed, and stops the guest.
 * Null when there is nothing that could be moved before.
 */
export function* preCopy(course: SenderCourse, plan: SenderPlan): Sequence<Convergence | null> {
  const moving = course.devices.filter((device) => device.preCopy);
  if (moving.length === 0 && (plan.memory.length === 0 || plan.paused)) return null;
  yield* begin(course, 'pre-copy');
  let history: Iteration[] = [];
  for (;;) {
    const because = yield* iterate(course, plan, history);
    yield* stopGuest(course, plan);
    if (!(yield* beginsAnew(moving))) return because;
    // A device has thrown away what was loaded. With QEMU, the migration fails here.
    course.guestStopped = false;
    yield* hook('resume');
    yield* begin(course, 'pre-copy');
    history = [];
  }
}

/** Rounds, until the decision is to switch. */
function* iterate(course: SenderCourse, plan: SenderPlan, history: Iteration[]): Sequence<Convergence> {
  for (;;) {
    const rest = yield* readRest(course, plan);
    yield* confirmInitial(course, rest, history);
    const first = yield* decide(course, rest, history);
    if (first !== null) {
      yield* carryOut({ do: 'gate' });
      // Whoever held it may have changed the limits: its rounds count anew.
      if (first === 'held') history.splice(0, history.length - 1);
      const because = yield* decide(course, yield* readRest(course, plan), history);
      if (because !== null && because !== 'held') return because;
    }
    yield* round(course, rest, history);
  }
}

/** Why to switch now; null: another round; `held`: it would end here without success, but somebody holds it. */
function* decide(
  course: SenderCourse,
  { total }: Rest,
  history: readonly Iteration[],
): Sequence<Convergence | 'held' | null> {
  const { survey, holding } = yield* perform(
    { do: 'survey', left: total ?? restAfter(history.at(-1)) },
    'survey',
  );
  const decision = decidePreCopy(history, total, survey);
  if (decision.go === 'fail' && holding) return 'held';
  if (decision.go === 'fail') throw new StepError('ERR_NOT_CONVERGING', 'source', decision.why);
  const isLoaded = course.devices.every((device) => !device.preCopy || device.initialLoaded);
  if (decision.go === 'switch' && isLoaded) return decision.because;
  if (course.iterations < survey.limits.maxIterations) return null;
  const why = `${course.iterations} rounds of pre-copy have not been enough to load what has to be loaded first`;
  throw new StepError('ERR_NOT_CONVERGING', 'source', why);
}

/** One round: what is there now, as far as known, and until it is loaded. */
function* round(course: SenderCourse, rest: Rest, history: Iteration[]): Sequence<void> {
  course.iterations += 1;
  const moving = course.devices.filter((device) => device.preCopy);
  yield* sendConfigurationAhead(course, moving);
  const before = rest.total ?? restAfter(history.at(-1));
  const orders = moving.map((device): CopyOrder => {
    const own = rest.devices.get(device);
    // Of a device that does not tell what comes after the stop only a round that runs dry tells anything.
    const known = own === undefined || own.total === null ? null : own.movable;
    return { device: device.index, limit: known ?? BLIND_ITERATION };
  });
  const iteration = course.iterations;
  const { copied } = yield* perform(
    { do: 'copy', orders, iteration, rest: before, withinLimit: false },
    'copied',
  );
  history.push({ ...copied, before });
}

function* readRest(course: SenderCourse, plan: SenderPlan): Sequence<Rest> {
  const { devices } = course;
  const moving = devices.filter((device) => device.preCopy);
  const estimates = yield* readEstimates(moving);
  const sizes = yield* ask(devices.map(({ index }) => ({ ask: 'dataSize', device: index })));
  const rests = new Map(
    devices.map((device, i) => {
      const { size } = answered(sizes[i], 'size');
      device.sizeUnknown = size === null;
      return [device, restOf(estimates.get(device) ?? null, size)];
    }),
  );
  const memory = plan.memory.length === 0 ? 0 : yield* memoryRest();
  return { devices: rests, memory, total: sumOf([memory, ...[...rests.values()].map(({ total }) => total)]) };
}

function* memoryRest(): Sequence<number> {
  return Number((yield* perform({ do: 'memory', what: 'rest' }, 'bytes')).bytes);
}

function* readEstimates(
  moving: readonly SenderDevice[],
): Sequence<ReadonlyMap<SenderDevice, PrecopyEstimate | null>> {
  const answers = yield* ask(moving.map(({ index }) => ({ ask: 'precopyInfo', device: index })));
  return new Map(
    moving.map((device, i) => {
      const { estimate } = answered(answers[i], 'estimate');
      if (hasBegunAnew(device, estimate)) device.initialLoaded = false;
      return [device, estimate];
    }),
  );
}

function hasBegunAnew({ initialLoaded }: SenderDevice, estimate: PrecopyEstimate | null): boolean {
  return estimate?.reinitialized === true || (initialLoaded && (estimate?.initialBytes ?? 0n) > 0n);
}

/** After the vCPUs have stopped nothing writes any more, so this answer counts. */
function* beginsAnew(moving: readonly SenderDevice[]): Sequence<boolean> {
  yield* readEstimates(moving);
  return moving.some((device) => !device.initialLoaded);
}

/** The destination says of each device whose initial data has been sent that it has loaded it. */
function* confirmInitial(course: SenderCourse, rest: Rest, history: readonly Iteration[]): Sequence<void> {
  const due = course.devices.filter((device) => {
    const initial = rest.devices.get(device)?.initial ?? null;
    const isSent = initial === null ? history.length > 0 : initial === 0;
    return device.preCopy && !device.initialLoaded && isSent;
  });
  for (const { index } of due) yield* send({ kind: 'INITIAL', device: index });
  for (const _ of due) {
    const { device } = yield* expect('INITIAL_LOADED');
    const loaded = due.find(({ index }) => index === device);
    if (loaded === undefined)
      throw new StepError('ERR_PEER_PROTOCOL', 'destination', `device ${device} was not asked`);
    loaded.initialLoaded = true;
  }
}
