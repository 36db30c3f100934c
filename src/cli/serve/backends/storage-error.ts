import { Errno, type ErrorContext, FerryError } from '../../../errors/index.ts';

/** What can be wrong with the file behind a namespace, and its errno. */
const storageErrors = {
  /** It can't be opened, or it is no file of whole blocks. */
  ERR_STORAGE_FILE: Errno.EINVAL,
  /** Another server has it. */
  ERR_STORAGE_BUSY: Errno.EBUSY,
  /** It was not given to this server, or taken from it. */
  ERR_STORAGE_RELEASED: Errno.EBADF,
  /** Reading or writing it failed. */
  ERR_STORAGE_IO: Errno.EIO,
} as const;

/** Stable code of a {@link StorageError}. */
export type StorageErrorCode = keyof typeof storageErrors;

/** Something is wrong with the file behind a namespace. */
export class StorageError extends FerryError {
  constructor(code: StorageErrorCode, message: string, context: ErrorContext, cause?: unknown) {
    super(code, message, { errno: storageErrors[code], context, cause });
  }
}
