import { errnoName, FerryError } from '../errors/index.ts';
import { stateName } from '../states/index.ts';
import { HINTS, type RemoteError, type RemoteErrorCode } from './remote-error.ts';

/** `ERR_STATE_CHANGE`, or why the session is not ours: see RemoteErrorCode. */
export type MigrationStateErrorCode = 'ERR_STATE_CHANGE' | Exclude<RemoteErrorCode, 'ERR_REMOTE'>;

/**
 * The device did not reach the state that was asked for. It "may be in any state along the path" (linux/vfio.h), so the
 * state was read back: {@link reached}.
 */
export class MigrationStateError extends FerryError {
  declare readonly code: MigrationStateErrorCode;
  /** The state that was asked for. */
  readonly requested: number;
  /** The state in which the device is now; null when it can't be asked. May be one that this version does not know. */
  readonly reached: number | null;

  constructor(requested: number, reached: number | null, cause: RemoteError) {
    const code: MigrationStateErrorCode = cause.code === 'ERR_REMOTE' ? 'ERR_STATE_CHANGE' : cause.code;
    const now = reached === null ? 'its state is unknown' : `it is in ${stateName(reached)}`;
    const why = `${errnoName(cause.errno)}, ${now}${HINTS[cause.code]}`;
    super(code, `the device did not reach ${stateName(requested)}: ${why}`, {
      errno: cause.errno,
      context: {
        requested: stateName(requested),
        reached: reached === null ? null : stateName(reached),
      },
      cause,
    });
    this.requested = requested;
    this.reached = reached;
  }
}
