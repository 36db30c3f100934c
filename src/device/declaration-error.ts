import { Errno, type ErrorContext } from '../errors/index.ts';
import { DeviceError } from './device-error.ts';

/** The error for a declaration that contradicts itself or PCI; `message` says what would be right. */
export function wrongDeclaration(message: string, context: ErrorContext): DeviceError {
  return new DeviceError('ERR_DEVICE_DECLARATION', message, { errno: Errno.EINVAL, context });
}
