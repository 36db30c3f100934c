import { Errno, type ErrorContext, FerryError, type RefusalError } from '../errors/index.ts';
import { v1Name } from '../states/index.ts';

/**
 * - `ERR_V1_STATE`: the device did not take a change of device_state.
 * - `ERR_V1_REFUSED`: the server refused another access to the migration region.
 * - `ERR_V1_DATA`: what its registers say can't be: a piece outside of the region, one without bytes again and again,
 *   or data without end.
 * - `ERR_V1_PIECE`: a piece does not fit into the data section.
 * - `ERR_V1_LACKS`: something that v1 has no words for, such as the P2P states.
 * - `ERR_SESSION_ABORTED`, `ERR_SESSION_BUSY`: as in RemoteErrorCode.
 */
export type V1ErrorCode =
  | 'ERR_V1_STATE'
  | 'ERR_V1_REFUSED'
  | 'ERR_V1_DATA'
  | 'ERR_V1_PIECE'
  | 'ERR_V1_LACKS'
  | 'ERR_SESSION_ABORTED'
  | 'ERR_SESSION_BUSY';

/** Something went wrong with a device that is migrated through a v1 region. */
export class V1Error extends FerryError {
  declare readonly code: V1ErrorCode;

  constructor(
    code: V1ErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { errno?: number; cause?: unknown } = {},
  ) {
    super(code, message, { errno: options.errno ?? Errno.EPROTO, context, cause: options.cause });
  }
}

/** A change of device_state failed. The header: "read device_state again to determine the current state". */
export class V1StateError extends V1Error {
  /** The state that was asked for. */
  readonly requested: number;
  /** What device_state says now; null when it could not be read. */
  readonly reached: number | null;

  constructor(requested: number, reached: number | null, cause: RefusalError) {
    const now = reached === null ? 'its state is unknown' : `it is in ${v1Name(reached)}`;
    const message = `the device did not reach ${v1Name(requested)}: ${cause.message}; ${now}`;
    const context = { requested: v1Name(requested), reached: reached === null ? null : v1Name(reached) };
    super(codeOf(cause, 'ERR_V1_STATE'), message, context, { errno: cause.errno, cause });
    this.requested = requested;
    this.reached = reached;
  }
}

/** What the server said to an access of the migration region. */
export function v1Refusal(what: string, cause: RefusalError): V1Error {
  const code = codeOf(cause, 'ERR_V1_REFUSED');
  return new V1Error(code, `${what}: ${cause.message}`, { what }, { errno: cause.errno, cause });
}

/** On the migration region ENODEV and EBUSY speak of the session, as they do in v2. */
function codeOf({ errno }: RefusalError, otherwise: V1ErrorCode): V1ErrorCode {
  if (errno === Errno.ENODEV) return 'ERR_SESSION_ABORTED';
  return errno === Errno.EBUSY ? 'ERR_SESSION_BUSY' : otherwise;
}
