import type { FerryError } from '../errors/index.ts';
import type { DeviceServer, ServedListener } from '../server/index.ts';
import type { Pause } from './pause.ts';

/** What a process needs to take a device over. */
export interface TakerParts {
  /** Its server, with the device, which nobody else is served by. */
  readonly server: DeviceServer;
  /** The socket to the process that has the device. */
  readonly fd: number;
  /** How long to wait for it while nothing is stopped, in milliseconds. */
  readonly answerMs: number;
  /** How many files this process may still open. */
  readonly fdRoom: () => number;
  /** The most bytes of a message; all that there may be by default. */
  readonly maxBody?: number;
  /** Takes errors of the listeners, and of the device when it runs. */
  readonly report: (error: FerryError) => void;
}

/** What was taken over. */
export interface Takeover {
  readonly listeners: readonly ServedListener[];
  /** The process that had the device before. */
  readonly pid: number;
  readonly pause: Pause;
}
