import { type ErrorContext, errnoName, FerryError } from '../errors/index.ts';

/** A system call failed, or the addon could not be loaded. `code` is `ERR_NATIVE`, `errno` the kernel's. */
export class NativeError extends FerryError {
  /** The function of the addon that failed, such as `listen`; `loadNative` when the addon itself is missing. */
  readonly operation: string;

  /**
   * @param errno positive
   * @param advice what to do about it, where that is known
   */
  constructor(operation: string, errno: number, context: ErrorContext = {}, advice = '') {
    const message = `${operation}: ${errnoName(errno)}${describe(context)}${advice === '' ? '' : `: ${advice}`}`;
    super('ERR_NATIVE', message, { errno, context });
    this.operation = operation;
  }
}

function describe(context: ErrorContext): string {
  const parts = Object.entries(context).map(([name, value]) => `${name} ${value}`);
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
