import type { DeviceInfo } from '../client/index.ts';
import { DeviceInfoFlag, DeviceInfo as DeviceInfoLayout } from '../protocol/index.ts';
import type { KernelFile } from './kernel-file.ts';
import { decode, encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';

/** DEVICE_GET_INFO. @throws KernelError */
export function infoOf(device: KernelFile): DeviceInfo {
  const empty = { argsz: DeviceInfoLayout.size, flags: 0, numRegions: 0, numIrqs: 0 };
  const argument = encode(DeviceInfoLayout, empty);
  device.ioctl(VfioIoctl.DEVICE_GET_INFO, { argument });
  const { flags, numRegions, numIrqs } = decode(DeviceInfoLayout, argument);
  return {
    resettable: (flags & DeviceInfoFlag.RESET) !== 0,
    pci: (flags & DeviceInfoFlag.PCI) !== 0,
    regionCount: numRegions,
    irqCount: numIrqs,
  };
}
