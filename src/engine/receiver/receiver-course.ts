import { type Course, type DeviceCourse, newCourse } from '../course.ts';
import type { SidePlan } from '../plan.ts';

/** One of the destination's devices. */
export interface ReceiverDevice extends DeviceCourse {
  /** What is to be done once the interrupt controller is restored (bits of WithheldAction). */
  actions: number;
  /** It runs afterwards; otherwise its guest is paused, and it stays stopped. */
  isToRun: boolean;
}

/** What the receiving side has done so far. */
export interface ReceiverCourse extends Course {
  readonly devices: readonly ReceiverDevice[];
  /** BEGIN is in the journal. */
  begun: boolean;
  /** The source has been told that data is taken. */
  opened: boolean;
  /** Everything has arrived: this may be the only copy. */
  moved: boolean;
  /** READY is in the journal: neither run nor discard until the outcome is known. */
  ready: boolean;
  /** The source has said that it keeps the devices. */
  abortedByPeer: boolean;
  /** The source has said COMMIT. */
  committed: boolean;
  /** The guest's vCPUs have been started. */
  started: boolean;
}

/** The course of a receiver that has not begun. */
export function newReceiverCourse(plan: SidePlan): ReceiverCourse {
  const course = newCourse('destination', plan);
  return {
    ...course,
    devices: course.devices.map((device) => ({ ...device, actions: 0, isToRun: true })),
    begun: false,
    opened: false,
    moved: false,
    ready: false,
    abortedByPeer: false,
    committed: false,
    started: false,
  };
}
