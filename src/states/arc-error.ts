import { Errno, FerryError } from '../errors/index.ts';
import { type MigrationState, stateName } from './migration-state.ts';

/** What {@link ArcError} reports. */
export interface ArcFailure {
  /** The state in which the walk began. */
  readonly from: MigrationState;
  /** The state that was asked for. */
  readonly to: MigrationState;
  /** The state in which the device is now: the last one it reached. */
  readonly reached: MigrationState;
  /** The state it could not enter: the failing arc is `reached` to `refused`. */
  readonly refused: MigrationState;
  /** What the device threw. */
  readonly cause: unknown;
}

/**
 * The device failed on an arc in the middle of a change of state. It stays in the state it had reached, which may be
 * neither the old nor the requested one ("the user may see any step along the path", linux/vfio.h).
 * `errno` is the cause's, or EIO when it has none.
 */
export class ArcError extends FerryError {
  /** The state in which the walk began. */
  readonly from: MigrationState;
  /** The state that was asked for. */
  readonly to: MigrationState;
  /** The state in which the device is now. */
  readonly reached: MigrationState;
  /** The state it could not enter. */
  readonly refused: MigrationState;

  constructor(failure: ArcFailure) {
    const { from, to, reached, refused, cause } = failure;
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(
      'ERR_ARC_FAILED',
      `${stateName(from)} to ${stateName(to)} stopped in ${stateName(reached)}: ` +
        `entering ${stateName(refused)} failed: ${reason}`,
      {
        errno: errnoOf(cause),
        context: {
          from: stateName(from),
          to: stateName(to),
          reached: stateName(reached),
          refused: stateName(refused),
        },
        cause,
      },
    );
    this.from = from;
    this.to = to;
    this.reached = reached;
    this.refused = refused;
  }
}

/** The positive errno of a FerryError or of a system error of Node, whose numbers are negative; EIO without one. */
function errnoOf(cause: unknown): number {
  if (typeof cause !== 'object' || cause === null || !('errno' in cause)) return Errno.EIO;
  const { errno } = cause;
  if (typeof errno !== 'number' || !Number.isInteger(errno) || errno === 0) return Errno.EIO;
  return Math.abs(errno);
}
