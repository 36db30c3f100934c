import { answered, type Course, type DeviceCourse, isHeldByAnother } from './course.ts';
import { ask, type Sequence } from './step.ts';

/** Ties the devices to this migration. Those whose servers know no claims are left as they are. */
export function* claimAll(course: Course): Sequence<void> {
  const devices = course.devices.filter(({ claimable }) => claimable);
  const answers = yield* ask(devices.map(({ index }) => ({ ask: 'claim', device: index })));
  devices.forEach((device, i) => {
    const answer = answers[i];
    device.claimed = answer?.is !== 'failed' || !isHeldByAnother(answer.error);
  });
  for (const answer of answers) answered(answer, 'done');
}

/** From here on the devices, which have stopped, never run again unless released. */
export function* retireAll(devices: readonly DeviceCourse[]): Sequence<void> {
  const claimed = devices.filter((device) => device.claimed);
  const answers = yield* ask(claimed.map(({ index }) => ({ ask: 'retire', device: index })));
  for (const answer of answers) answered(answer, 'done');
}

/** Gives the devices back. What a device doesn't answer is left to its server, or to the next recovery. */
export function* releaseAll(devices: readonly DeviceCourse[]): Sequence<void> {
  const claimed = devices.filter((device) => device.claimed);
  const answers = yield* ask(claimed.map(({ index }) => ({ ask: 'release', device: index })));
  claimed.forEach((device, i) => {
    if (answers[i]?.is === 'done') device.claimed = false;
  });
}
