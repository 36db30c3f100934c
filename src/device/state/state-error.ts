import { Errno, type ErrorContext, FerryError } from '../../errors/index.ts';

/**
 * - `ERR_STATE_DECLARATION`: a mistake in a declared state, such as a name that is used twice.
 * - `ERR_STATE_RANGE`: an access beyond the end of a memory block.
 * - `ERR_STATE_VALUE`: values that do not fit the declaration.
 * - `ERR_STATE_MEMORY`: the operating system would not give the memory of a block.
 */
export type DeclaredStateErrorCode =
  | 'ERR_STATE_DECLARATION'
  | 'ERR_STATE_RANGE'
  | 'ERR_STATE_VALUE'
  | 'ERR_STATE_MEMORY';

/** Something about a device's declared state is wrong; EINVAL unless the operating system said otherwise. */
export class DeclaredStateError extends FerryError {
  constructor(
    code: DeclaredStateErrorCode,
    message: string,
    context: ErrorContext,
    errno: number = Errno.EINVAL,
  ) {
    super(code, message, { errno, context });
  }
}
