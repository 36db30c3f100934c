import { Errno } from '../errors/index.ts';
import { callFailed, KernelError } from './kernel-error.ts';
import { type DevicePlace, nameOf } from './place.ts';

/** What a driver answers that has no reset. */
const CANT_RESET: ReadonlySet<number> = new Set([Errno.ENOTTY, Errno.EINVAL]);

/** VFIO_DEVICE_RESET failed; where the driver has none, what to do instead. */
export function resetFailed(place: DevicePlace, errno: number): KernelError {
  const name = nameOf(place);
  if (!CANT_RESET.has(errno)) return callFailed('VFIO_DEVICE_RESET', errno, { device: name });
  const next =
    place.bus === 'mdev' ? 'remove it and create it again' : 'unbind it from its driver and bind it again';
  const message = `the driver ${place.driver ?? '(none)'} can't reset ${name}: ${next}`;
  return new KernelError('ERR_KERNEL_LACKS', message, errno);
}
