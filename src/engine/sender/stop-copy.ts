import { WithheldAction } from '../../channel/index.ts';
import { answered, begin } from '../course.ts';
import type { MigrationId } from '../plan.ts';
import { ask, carryOut, perform, type Sequence, send } from '../step.ts';
import { StepError } from '../step-error.ts';
import { sumOf } from './rest.ts';
import type { SenderCourse, SenderDevice } from './sender-course.ts';

/** What the destination does only after its interrupt controller is restored. */
const LATER = WithheldAction.INTERRUPTS;

/** Moves what is left of the devices, which have stopped, and says that this is all. */
export function* stopCopy(course: SenderCourse, plan: MigrationId): Sequence<void> {
  yield* begin(course, 'stop-copy');
  const { devices } = course;
  yield* sendConfigurationAhead(course, devices);
  const rest = yield* readSizes(devices);
  const orders = devices.map(({ index }) => ({ device: index, limit: Number.POSITIVE_INFINITY }));
  const withinLimit = devices.some((device) => device.sizeUnknown);
  const { copied } = yield* perform({ do: 'copy', orders, iteration: 0, rest, withinLimit }, 'copied');
  if (!copied.dry) throw new StepError('ERR_STEP_UNVERIFIED', 'source', "the source's data did not end");
  yield* sendConfigurationLast(devices);
  course.moved = true;
  yield* carryOut({ do: 'complete', group: plan.group, epoch: plan.epoch });
}

function* readSizes(devices: readonly SenderDevice[]): Sequence<number | null> {
  const answers = yield* ask(devices.map(({ index }) => ({ ask: 'dataSize', device: index })));
  return sumOf(
    devices.map((device, i) => {
      const { size } = answered(answers[i], 'size');
      device.sizeUnknown = size === null;
      return size === null ? null : Number(size);
    }),
  );
}

/** What a device needs before it takes data; a device that wants to order it by itself gets it as it is. */
export function* sendConfigurationAhead(
  { devices }: SenderCourse,
  of: readonly SenderDevice[],
): Sequence<void> {
  for (const device of devices.filter((each) => of.includes(each))) {
    if (device.need === 'ahead') yield* sendConfiguration(device, LATER);
    if (device.need === 'every-time') yield* sendConfiguration(device, 0);
  }
}

/** Those that did not need it have it now, and everything is set up there; to the others only the actions go. */
function* sendConfigurationLast(devices: readonly SenderDevice[]): Sequence<void> {
  for (const device of devices) {
    if (device.need === 'none') yield* sendConfiguration(device, LATER);
    if (device.need === 'none' || device.need === 'ahead') {
      yield* send({ kind: 'ACTIONS', device: device.index, actions: LATER });
    }
  }
}

function* sendConfiguration({ index }: SenderDevice, withheld: number): Sequence<void> {
  yield* carryOut({ do: 'configuration', device: index, withheld });
}
