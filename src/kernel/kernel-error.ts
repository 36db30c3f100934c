import { Errno, type ErrorContext, errnoName, RefusalError } from '../errors/index.ts';
import { stateName } from '../states/index.ts';

/**
 * - `ERR_KERNEL`: a call to the kernel failed, with its errno.
 * - `ERR_KERNEL_NO_DEVICE`: there is no such device, or VFIO does not have it.
 * - `ERR_KERNEL_BUSY`: another process has the device, or its group.
 * - `ERR_KERNEL_LACKS`: the driver or the kernel can't do that.
 * - `ERR_KERNEL_ARGUMENT`: something that can't be asked for.
 * - `ERR_KERNEL_LEFT_OVER`: the device is in the middle of a migration that an earlier user began.
 * - `ERR_KERNEL_DMA`: memory could not be taken away from a device; it stays reserved for it.
 * - `ERR_KERNEL_CLOSED`: the device has been closed here.
 * - `ERR_SESSION_ABORTED`: the device was reset by somebody else, the data session is gone.
 */
export type KernelErrorCode =
  | 'ERR_KERNEL'
  | 'ERR_KERNEL_NO_DEVICE'
  | 'ERR_KERNEL_BUSY'
  | 'ERR_KERNEL_LACKS'
  | 'ERR_KERNEL_ARGUMENT'
  | 'ERR_KERNEL_LEFT_OVER'
  | 'ERR_KERNEL_DMA'
  | 'ERR_KERNEL_CLOSED'
  | 'ERR_SESSION_ABORTED';

/** The kernel, or the driver of a device, has refused something. */
export class KernelError extends RefusalError {
  declare readonly code: KernelErrorCode;

  constructor(
    code: KernelErrorCode,
    message: string,
    errno: number,
    context: ErrorContext = {},
    cause?: unknown,
  ) {
    super(code, message, { errno, context, cause });
  }
}

/** A call failed: `call` is what was called, such as VFIO_DEVICE_RESET; `advice` the next thing to try. */
export function callFailed(
  call: string,
  errno: number,
  context: ErrorContext = {},
  advice = '',
  code: KernelErrorCode = 'ERR_KERNEL',
): KernelError {
  const where = Object.entries(context).map(([name, value]) => `${name} ${value}`);
  const at = where.length === 0 ? '' : ` (${where.join(', ')})`;
  const next = advice === '' ? '' : `: ${advice}`;
  return new KernelError(code, `${call}: ${errnoName(errno)}${at}${next}`, errno, { call, ...context });
}

/**
 * The device did not reach the state that was asked for. It "may be in any state along the path" (linux/vfio.h), so the
 * state was read back.
 */
export class KernelStateError extends RefusalError {
  declare readonly code: 'ERR_STATE_CHANGE';
  /** The state that was asked for. */
  readonly requested: number;
  /** The state in which the device is now; null when it can't be asked. May be one that this version does not know. */
  readonly reached: number | null;
  /** The device is in ERROR, and only a reset ends that. */
  readonly needsReset: boolean;

  constructor(requested: number, reached: number | null, errno: number) {
    super(
      'ERR_STATE_CHANGE',
      `the device did not reach ${stateName(requested)}: ${errnoName(errno)}, ${whereabouts(reached)}`,
      {
        errno,
        context: { requested: stateName(requested), reached: reached === null ? null : stateName(reached) },
      },
    );
    this.requested = requested;
    this.reached = reached;
    this.needsReset = reached === 0;
  }
}

/** Reading or writing a device's state failed. Drivers may give up a device for that, so its state was read back. */
export class KernelSessionError extends KernelError {
  /** The state in which the device is now; null when it can't be asked. May be one that this version does not know. */
  readonly reached: number | null;
  /** The device is in ERROR, and only a reset ends that. */
  readonly needsReset: boolean;

  constructor({ code, message, errno, context, cause }: KernelError, reached: number | null) {
    const state = reached === null ? null : stateName(reached);
    super(code, `${message}; ${whereabouts(reached)}`, errno, { ...context, state }, cause);
    this.reached = reached;
    this.needsReset = reached === 0;
  }
}

/** Where a device is after a failure, and what that asks for. */
function whereabouts(reached: number | null): string {
  if (reached === null) return 'its state is unknown';
  return `it is in ${stateName(reached)}${reached === 0 ? '; it has to be reset' : ''}`;
}

/** A device that can't be opened as it is. */
export function notUsable(why: string): KernelError {
  return new KernelError('ERR_KERNEL_NO_DEVICE', why, Errno.ENODEV);
}

/** What is asked for, or null where the kernel says EINVAL: there is no such thing. */
export function orNull<T>(ask: () => T): T | null {
  try {
    return ask();
  } catch (error) {
    if (error instanceof KernelError && error.errno === Errno.EINVAL) return null;
    throw error;
  }
}
