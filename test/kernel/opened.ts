import { KernelDevice, type OpenOptions } from '../../src/kernel/index.ts';
import type { FakeDriverOptions } from './fake-driver.ts';
import { type FakeDevice, FakeKernel, type FakeKernelOptions } from './fake-kernel.ts';

export const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
export const PCI = '0000:00:05.0';

/** A device of a fake kernel, opened. */
export async function opened(
  driver: FakeDriverOptions = {},
  { way, ...options }: FakeKernelOptions & OpenOptions = {},
): Promise<{ kernel: FakeKernel; fake: FakeDevice; device: KernelDevice }> {
  const kernel = new FakeKernel(options);
  const fake = kernel.add(UUID, driver);
  const how = way === undefined ? {} : { way };
  const device = await KernelDevice.open(UUID, { system: kernel, sysfs: kernel.sysfs, ...how });
  return { kernel, fake, device };
}

/** The bytes that one read brings. */
export async function readOnce(device: KernelDevice, most = 4096): Promise<number> {
  return device.readMigrationData(most, () => {});
}
