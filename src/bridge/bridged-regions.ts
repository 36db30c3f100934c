import type { RegionInfo } from '../client/index.ts';
import type { Region, SharedRegion } from '../device/index.ts';
import type { KernelDevice } from '../kernel/index.ts';
import { PCI_NUM_REGIONS } from '../protocol/index.ts';

/** The regions of a device of the kernel, as they are. What it refuses to tell of is a region of size 0. */
export function bridgedRegions(device: KernelDevice, map: boolean): readonly Region[] {
  return Array.from({ length: PCI_NUM_REGIONS }, (_, index) => regionOf(device, index, map));
}

function regionOf(device: KernelDevice, index: number, map: boolean): Region {
  const info = infoOf(device, index);
  return {
    index,
    size: Number(info?.size ?? 0n),
    readable: info?.readable ?? false,
    writable: info?.writable ?? false,
    shared: map && info !== null && info.areas.length > 0 ? sharedOf(device, info) : null,
    read: (offset, target, at, length) =>
      device.regions.read(index, offset, target.subarray(at, at + length)),
    write: (offset, source, at, length) =>
      device.regions.write(index, offset, source.subarray(at, at + length)),
  };
}

/** Whoever is given the file of the device has its ioctls too; that is why it has to be asked for. */
function sharedOf(device: KernelDevice, { areas, size, fileOffset }: RegionInfo): SharedRegion {
  const [first] = areas;
  return {
    expose: () => device.fd,
    areas: areas.map((area) => ({ offset: Number(area.offset), size: Number(area.size) })),
    whole: areas.length === 1 && first?.offset === 0n && first.size === size,
    fileOffset,
  };
}

function infoOf(device: KernelDevice, index: number): RegionInfo | null {
  const info = device.regions.tryInfo(index);
  return info === null || info.size === 0n ? null : info;
}
