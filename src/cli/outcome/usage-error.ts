import { Errno, FerryError } from '../../errors/index.ts';

/** The command line is wrong. */
export class UsageError extends FerryError {
  constructor(message: string) {
    super('ERR_USAGE', message, { errno: Errno.EINVAL });
  }
}
