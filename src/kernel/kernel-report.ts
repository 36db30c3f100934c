import type { Attachment } from './attachment.ts';
import type { KernelDmaLogging } from './dma-logging.ts';
import type { Way } from './domain.ts';
import type { KernelDevice } from './kernel-device.ts';

/** What there is to know of a device of the kernel besides what every device tells. */
export interface KernelReport {
  readonly name: string;
  readonly bus: string;
  readonly driver: string | null;
  readonly group: number | null;
  /** What the kernel says of the group (VFIO_GROUP_FLAGS_); null with iommufd. */
  readonly groupFlags: number | null;
  /** All devices of the group. */
  readonly groupMembers: readonly string[];
  readonly way: Way;
  /** The device logs what it writes by DMA. */
  readonly dmaLogging: boolean;
  /** What can't be done with it, in words for people. */
  readonly limits: readonly string[];
}

/** Asks for it without changing the device. */
export async function reportOf(
  device: KernelDevice,
  { domain: { way }, groupFlags }: Attachment,
  logging: KernelDmaLogging,
): Promise<KernelReport> {
  const { name, bus, driver, group, groupMembers } = device.place;
  const dmaLogging = logging.supported;
  const migrates = device.migration.flags() !== null;
  const limits = [
    ...((await device.info()).resettable ? [] : ['its driver does not say that it can be reset']),
    ...(migrates && (await device.migrationDataSize()) === null
      ? ['it does not tell how much state it has']
      : []),
    ...(dmaLogging ? [] : ['it does not log its DMA: all memory counts as written']),
    ...(bus === 'pci' ? ['what it has is lost when it is closed: vfio-pci resets it then'] : []),
  ];
  return { name, bus, driver, group, groupFlags, groupMembers, way, dmaLogging, limits };
}
