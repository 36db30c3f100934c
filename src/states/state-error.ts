import { type ErrorDetails, FerryError } from '../errors/index.ts';

/** Why a state or a set of flags is refused. */
export type StateErrorCode =
  /** Flags without STOP_COPY, or with unknown bits. */
  | 'ERR_MIGRATION_FLAGS'
  /** A number that is no state. */
  | 'ERR_STATE_UNKNOWN'
  /** A state that this device lacks. */
  | 'ERR_STATE_UNSUPPORTED'
  /** No path leads there: from or to ERROR, or back from STOP_COPY into PRE_COPY. */
  | 'ERR_STATE_REFUSED'
  /** A log of states that can't be read as one. */
  | 'ERR_STATE_LOG';

/** A change of state that the state machine refuses before anything happens to the device. */
export class StateError extends FerryError {
  constructor(code: StateErrorCode, message: string, details: ErrorDetails) {
    super(code, message, details);
  }
}
