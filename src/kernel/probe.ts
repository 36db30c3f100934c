import { RefusalError } from '../errors/index.ts';
import { KernelDevice, type OpenOptions } from './kernel-device.ts';
import type { KernelReport } from './kernel-report.ts';
import { type DevicePlace, findDevice } from './place.ts';

/** What a look at a device finds, as far as it can be opened. */
export interface KernelProbe {
  readonly place: DevicePlace;
  /** Why it could not be opened, or not be asked; null when it could. */
  readonly refused: RefusalError | null;
  readonly report: KernelReport | null;
  /** MigrationFlag bits; null when it does not migrate, or could not be asked. */
  readonly flags: bigint | null;
  /** The migration state. */
  readonly state: number | null;
}

/** Opens a device for a moment and asks what it can do. Nothing is changed. @throws KernelError ERR_KERNEL_NO_DEVICE */
export async function probeKernelDevice(address: string, options: OpenOptions = {}): Promise<KernelProbe> {
  const place = findDevice(address, options.sysfs);
  let device: KernelDevice | null = null;
  try {
    device = await KernelDevice.open(address, options);
    const { kernel: report } = await device.inspectServer();
    const flags = await device.migrationFlags();
    const state = flags === null ? null : await device.migrationState();
    return { place, refused: null, report, flags, state };
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    return { place, refused: error, report: null, flags: null, state: null };
  } finally {
    device?.close();
  }
}
