import { resolve } from 'node:path';
import type { MovableDevice } from '../../client/index.ts';
import { isKernelDevice, KernelDevice } from '../../kernel/index.ts';
import { connectControl } from './control.ts';
import { field } from './server-report.ts';

/** How a command line says where a device is, for `--help`. */
export const DEVICE_HELP = `
A device is named by either socket of its server, or, when a driver of the kernel has it, by its address of PCI
(0000:00:05.0), the UUID of a mediated device, or its file below /dev/vfio. Nobody else can have such a device meanwhile.`;

/** What is said of a device of the kernel that was given a state. */
const FORGETS = 'is closed now, and its driver resets it: what it was given is lost. Have it served before';

/** Reaches a device behind a socket, or one of the kernel. */
export function openDevice(name: string, timeoutMs?: number): Promise<MovableDevice> {
  return isKernelDevice(name) ? KernelDevice.open(name) : connectControl(name, timeoutMs);
}

/** Calls `use` with a device, and closes it whatever happens. */
export async function withDevice<T>(name: string, use: (device: MovableDevice) => Promise<T>): Promise<T> {
  const device = await openDevice(name);
  try {
    return await use(device);
  } finally {
    device.close();
  }
}

/** The name by which another command finds the device, in whatever folder it is run. */
export function lastingName(name: string): string {
  return isKernelDevice(name) ? name : resolve(name);
}

/** What has to be said when devices that were given a state are closed; nothing of those that are served. */
export function closingNotes(devices: readonly MovableDevice[]): readonly string[] {
  return devices
    .filter((device) => device instanceof KernelDevice && device.place.bus === 'pci')
    .map(({ path }) => `note: ${path} ${FORGETS} (ferry serve kernel:${path})`);
}

/** Whether a device's report is of one of the kernel. */
export function isOfKernel(report: unknown): boolean {
  return field(report, 'kernel') !== undefined;
}

/** What is to be known of a device of the kernel, in lines for people; none of others. */
export function describeKernel(report: unknown): readonly string[] {
  const kernel = field(report, 'kernel');
  if (!isOfKernel(report)) return [];
  const text = (name: string): string => String(field(kernel, name) ?? 'none');
  const members = listOf(field(kernel, 'groupMembers'));
  const others = members.filter((each) => each !== field(kernel, 'name'));
  const way = field(kernel, 'way') === 'cdev' ? 'its own file and iommufd' : 'its group and a container';
  return [
    `driver ${text('driver')}, on ${text('bus')}`,
    `IOMMU group ${text('group')}${others.length === 0 ? '' : `, with ${others.join(', ')}`}; reached by ${way}`,
    ...listOf(field(kernel, 'limits')),
  ];
}

function listOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
