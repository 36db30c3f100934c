import { Errno } from '../errors/index.ts';
import { DeviceError } from './device-error.ts';

/** A device is bound once. */
export function boundTwice(kind: string): DeviceError {
  return new DeviceError('ERR_DEVICE_BOUND', `this ${kind} has a host already: make a new one`, {
    errno: Errno.EBUSY,
    context: { kind },
  });
}

/** A device declares its state once. */
export function declaredTwice(): DeviceError {
  const message = 'a device declares its state once';
  return new DeviceError('ERR_DEVICE_DECLARATION', message, { errno: Errno.EINVAL });
}

/** A service was asked for in the constructor, or in a field. */
export function notBound(): DeviceError {
  const message = 'the device is not bound yet: it has no host that could do this';
  return new DeviceError('ERR_DEVICE_BOUND', message, { errno: Errno.ENODEV });
}

/** Nothing asynchronous goes with dedicated mode. */
export function tooAsynchronous(kind: string): DeviceError {
  return new DeviceError(
    'ERR_DEVICE_ASYNCHRONOUS',
    `${kind} works asynchronously, and in dedicated mode the thread blocks: nothing asynchronous would ever complete`,
    { errno: Errno.EOPNOTSUPP, context: { kind } },
  );
}
