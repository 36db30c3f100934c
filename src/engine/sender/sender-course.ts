import { MigrationState } from '../../states/index.ts';
import { type Course, type DeviceCourse, newCourse } from '../course.ts';
import type { ConfigurationNeed } from '../migration-end.ts';
import type { SidePlan } from '../plan.ts';

/** One of the source's devices. */
export interface SenderDevice extends DeviceCourse {
  /** How its configuration space travels; null: it does not. */
  need: ConfigurationNeed | null;
  /** The state from which it is moved, and to which it goes back: RUNNING, or STOP when its guest is paused. */
  home: MigrationState;
  /** It is moved while it runs. */
  preCopy: boolean;
  /** The other side knows that the initial data is complete, and has loaded it. */
  initialLoaded: boolean;
  /** It could not tell how much a stop-copy takes. */
  sizeUnknown: boolean;
}

/** What the sending side has done so far. */
export interface SenderCourse extends Course {
  readonly devices: readonly SenderDevice[];
  /** The guest has been asked to stop. */
  guestStopped: boolean;
  /** BEGIN is in the journal. */
  begun: boolean;
  /** The other side has been asked to take data: it has to be told when that is over. */
  opened: boolean;
  /** The devices have been asked never to run again. */
  retiring: boolean;
  /** The other side has been given everything: it may be the only one that still has it. */
  moved: boolean;
  /** COMMIT is in the journal: `uncertain` when it can neither be relied on nor ruled out. */
  committed: 'no' | 'uncertain' | 'yes';
  iterations: number;
}

/** The course of a sender that has not begun. */
export function newSenderCourse(plan: SidePlan): SenderCourse {
  const course = newCourse('source', plan);
  const devices = course.devices.map((device) => ({
    ...device,
    home: MigrationState.RUNNING,
    need: null,
    preCopy: false,
    initialLoaded: false,
    sizeUnknown: false,
  }));
  return {
    ...course,
    devices,
    guestStopped: false,
    begun: false,
    opened: false,
    retiring: false,
    moved: false,
    committed: 'no',
    iterations: 0,
  };
}
