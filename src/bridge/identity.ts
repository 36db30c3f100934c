import type { PciIdentity } from '../device/index.ts';
import { Errno } from '../errors/index.ts';
import { type KernelDevice, KernelError } from '../kernel/index.ts';
import { littleEndian, RegionIndex } from '../protocol/index.ts';

/** Where a header of type 0 has who the device is (PCI Local Bus 3.0, 6.1). */
const AT = { vendor: 0x00, device: 0x02, revision: 0x08, subsystemVendor: 0x2c, subsystem: 0x2e };
const HEADER_SIZE = 64;

/** Who a device is, by its configuration space. @throws KernelError ERR_KERNEL_LACKS for what is no PCI device */
export async function identityOf(device: KernelDevice): Promise<Required<PciIdentity>> {
  const { pci } = await device.info();
  const { size } = await device.regionInfo(RegionIndex.CONFIG);
  if (!pci || size < BigInt(HEADER_SIZE)) {
    const message = `${device.path} is no PCI device: vfio-user has no others`;
    throw new KernelError('ERR_KERNEL_LACKS', message, Errno.ENOTTY);
  }
  const { buffer } = await device.read(RegionIndex.CONFIG, 0, HEADER_SIZE);
  const view = new DataView(buffer);
  return {
    kind: device.place.driver ?? 'kernel',
    vendor: view.getUint16(AT.vendor, littleEndian),
    device: view.getUint16(AT.device, littleEndian),
    revision: view.getUint8(AT.revision),
    classCode: view.getUint32(AT.revision, littleEndian) >>> 8,
    subsystemVendor: view.getUint16(AT.subsystemVendor, littleEndian),
    subsystemDevice: view.getUint16(AT.subsystem, littleEndian),
  };
}
