import { KernelBridge } from '../../bridge/index.ts';
import type { BindableDevice } from '../../device/index.ts';
import { NvmeDevice } from '../../devices/index.ts';
import { KernelDevice } from '../../kernel/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { FileNamespace } from './backends/file-namespace.ts';
import { gpioPins } from './backends/gpio-pins.ts';
import { serialLine } from './backends/serial-line.ts';
import makeDevice from './device-factory.ts';
import type { DeviceSpec } from './device-spec.ts';

/** A device and what this process has at its other end. */
export interface AttendedDevice {
  readonly device: BindableDevice;
  /** The path at which others find the other end, where the system has chosen it. */
  readonly line?: string;
  /** Lets go of the other end; the process may end then. */
  readonly close: () => void | Promise<void>;
  /** The same where another process goes on with the device and its other end. Absent: as {@link close}. */
  readonly abandon?: () => void;
  /** Why no other process can go on with the device. Absent: one can. */
  readonly stays?: string;
}

/**
 * Makes a device for this thread; one that is to be taken over leaves its other end with whoever has it. Throws
 * UsageError, TransportError for a socket that can't be made, StorageError for
 * a file that is no disk, KernelError for a device that the kernel does not give.
 */
export async function attendedDevice(spec: DeviceSpec, takingOver = false): Promise<AttendedDevice> {
  switch (spec.kind) {
    case 'gpio':
      return gpioPins(spec);
    case 'serial':
      return serialLine(spec.end, takingOver);
    case 'disk':
      return disk(spec.path);
    case 'kernel':
      if (takingOver) throw new UsageError(`${spec.name} can't be taken over: ${ONE_PROCESS}`);
      return bridge(spec.name, spec.map);
    default:
      return { device: await makeDevice(spec), close: () => {} };
  }
}

/** The file is used when a guest enables the controller, and until this ends or the device has moved. */
function disk(path: string): AttendedDevice {
  const backend = new FileNamespace(path);
  const device = new NvmeDevice({ backend, serial: backend.serial });
  return { device, close: () => backend.quiesce(), abandon: () => {} };
}

/** The kernel gives a device to one process at a time. */
const ONE_PROCESS = 'the kernel gives it to one process: migrate it to another device instead';

async function bridge(name: string, map: boolean): Promise<AttendedDevice> {
  const kernel = await KernelDevice.open(name);
  try {
    const device = await KernelBridge.over(kernel, { map });
    return { device, close: () => kernel.dispose(), stays: ONE_PROCESS };
  } catch (error) {
    kernel.close();
    throw error;
  }
}
