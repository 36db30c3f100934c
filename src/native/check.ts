import type { ErrorContext } from '../errors/index.ts';
import { NativeError } from './native-error.ts';

/**
 * Passes on what a function of the addon returned, or throws when that is a negated errno.
 *
 * @param operation the function's name, for the message
 * @param context what it was about: a path, an fd
 * @throws NativeError with the errno
 */
export function check(result: number, operation: string, context?: ErrorContext): number;
export function check<T extends object>(result: T | number, operation: string, context?: ErrorContext): T;
export function check(result: object | number, operation: string, context?: ErrorContext): object | number {
  if (typeof result === 'number' && result < 0) throw new NativeError(operation, -result, context);
  return result;
}
