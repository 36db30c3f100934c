import { Errno } from '../../errors/index.ts';
import { StateError } from '../state-error.ts';
import type { LogState } from './log-state.ts';

/** What a log may hold at most; more is refused before memory is spent on it. */
export const LogLimits = {
  /** Characters of the whole log. */
  TEXT: 64 * 1024 * 1024,
  /** Characters of a log in JSON, which has to be read as a whole. */
  JSON: 16 * 1024 * 1024,
  /** Changes and resets of all devices together. */
  EVENTS: 100_000,
  /** Devices. */
  DEVICES: 1000,
  /** Characters of a name of a device or of a word in a text log. */
  WORD: 256,
} as const;

/** Where a log says something, for people: `line 3`, `word 5 of line 1`, `entry 2`. */
export type Place = string;

/** One thing that happened to a device. */
export type LogEvent =
  /** A change was asked for, and the device got there. */
  | { readonly kind: 'change'; readonly to: LogState; readonly at: Place }
  /** A change was asked for and failed; `now` is where the device was found then, null where the log does not say. */
  | { readonly kind: 'failure'; readonly to: LogState; readonly now: LogState | null; readonly at: Place }
  /** The device was reset: it runs. */
  | { readonly kind: 'reset'; readonly at: Place };

/** What a log says of one device. */
export interface LogSequence {
  /** How the log calls it; null where it does not. */
  readonly device: string | null;
  /** The interface whose states they are, null where the log leaves that open (names that both have). */
  readonly interface: 'v1' | 'v2' | null;
  /** The migration flags of the device (v2), null where the log does not tell. */
  readonly flags: number | null;
  /** The state before the first event; null for the state after a reset, in which a device starts. */
  readonly start: LogState | null;
  readonly events: readonly LogEvent[];
}

/** A log that was understood. */
export interface StateLog {
  readonly format: 'text' | 'JSON' | 'QEMU trace' | 'QMP log';
  readonly sequences: readonly LogSequence[];
}

/** The log can't be read as one; without a place the whole of it is meant. */
export function logError(at: Place | null, reason: string): StateError {
  const where = at === null ? '' : `${at}: `;
  return new StateError('ERR_STATE_LOG', `${where}${reason}`, { errno: Errno.EINVAL, context: { at } });
}
