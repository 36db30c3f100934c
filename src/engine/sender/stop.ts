import { MigrationState } from '../../states/index.ts';
import { begin, hasP2p, take } from '../course.ts';
import type { SenderPlan } from '../plan.ts';
import { expect, hook, type Sequence, send } from '../step.ts';
import type { SenderCourse } from './sender-course.ts';

const { STOP, STOP_COPY, RUNNING_P2P, PRE_COPY_P2P } = MigrationState;

/**
 * RESUMING throws away what the destination has. So the source has made its first step before: if the destination has
 * made it too, both names lead to one device, and nothing has happened to it yet.
 */
export function* openDestination(course: SenderCourse): Sequence<void> {
  course.opened = true;
  yield* send({ kind: 'OPEN' });
  yield* expect('OPENED');
}

/** The guest stops before the peer-to-peer DMA of its devices does. */
export function* stopGuest(course: SenderCourse, plan: SenderPlan): Sequence<void> {
  yield* begin(course, 'stop');
  if (plan.paused) return;
  course.guestStopped = true;
  yield* hook('beforeStop');
}

/** All devices reach their P2P state before any stops; the last one first, as QEMU does. */
export function* stopDevices(course: SenderCourse): Sequence<void> {
  const lastFirst = [...course.devices].reverse();
  const running = lastFirst.filter((device) => device.state !== STOP);
  yield* take(course, running.filter(hasP2p), ({ index }) =>
    course.devices[index]?.preCopy ? PRE_COPY_P2P : RUNNING_P2P,
  );
  yield* take(course, lastFirst, () => STOP_COPY);
  if (!course.opened) yield* openDestination(course);
}
