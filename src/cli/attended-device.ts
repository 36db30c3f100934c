import type { BindableDevice } from '../device/index.ts';
import makeDevice from './device-factory.ts';
import type { DeviceSpec } from './device-spec.ts';
import { gpioPins } from './gpio-pins.ts';
import { serialLine } from './serial-line.ts';

/** A device and what this process has at its other end. */
export interface AttendedDevice {
  readonly device: BindableDevice;
  /** Lets go of the other end; the process may end then. */
  readonly close: () => void;
}

/** Makes a device for this thread. Throws UsageError, or TransportError for a socket that can't be made. */
export async function attendedDevice(spec: DeviceSpec): Promise<AttendedDevice> {
  switch (spec.kind) {
    case 'gpio':
      return gpioPins(spec);
    case 'serial':
      return serialLine(spec.end);
    default:
      return { device: await makeDevice(spec), close: () => {} };
  }
}
