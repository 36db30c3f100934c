import { Errno } from '../../src/errors/index.ts';
import type { DmaMemory } from '../../src/native/index.ts';
import { type FakeDevice, type FakeFile, FakeMemory } from './fake-files.ts';
import type { FakeKernel } from './fake-kernel.ts';

/** What a container answers. */
export function containerIoctl(
  kernel: FakeKernel,
  container: Extract<FakeFile, { kind: 'container' }>,
  number: number,
  view: DataView,
  pointee: Uint8Array | DmaMemory | null,
): number {
  const devices = kernel.devices.filter(({ group }) => container.groups.includes(group));
  switch (number) {
    case 12:
      return type1Info(view);
    case 13:
      return map(kernel, devices, [16, 24], view.getUint32(4, true), view, pointee);
    case 14:
      return unmap(kernel, devices, [8, 16], view);
    case 17:
      return dirtyPages(container, devices, view, pointee);
    default:
      return 0;
  }
}

/** Page sizes of 4 KiB up, and all addresses below 2^39 but those of MSI. */
function type1Info(view: DataView): number {
  view.setUint32(4, 3, true);
  view.setBigUint64(8, 0xffff_f000n, true);
  view.setUint32(16, 24, true);
  view.setUint16(24, 1, true);
  view.setUint32(28, 0, true);
  view.setUint32(32, 2, true);
  const ranges = [0n, 0xfedf_ffffn, 0xfef0_0000n, (1n << 39n) - 1n];
  ranges.forEach((value, i) => {
    view.setBigUint64(40 + 8 * i, value, true);
  });
  view.setUint32(0, 72, true);
  return 0;
}

type At = readonly [iova: number, size: number];

function map(
  kernel: FakeKernel,
  devices: readonly FakeDevice[],
  [iovaAt, sizeAt]: At,
  flags: number,
  view: DataView,
  pointee: unknown,
): number {
  if (kernel.options.mapFails !== undefined) return -kernel.options.mapFails;
  if (!(pointee instanceof FakeMemory)) return -Errno.EFAULT;
  const [iova, size] = [view.getBigUint64(iovaAt, true), view.getBigUint64(sizeAt, true)];
  for (const device of devices) device.maps.set(iova, { size, memory: pointee, flags });
  return 0;
}

function unmap(
  kernel: FakeKernel,
  devices: readonly FakeDevice[],
  [iovaAt, sizeAt]: At,
  view: DataView,
): number {
  if (kernel.options.unmapFails !== undefined) return -kernel.options.unmapFails;
  const iova = view.getBigUint64(iovaAt, true);
  if (devices.filter((device) => device.maps.delete(iova)).length === 0) view.setBigUint64(sizeAt, 0n, true);
  return 0;
}

function dirtyPages(
  container: Extract<FakeFile, { kind: 'container' }>,
  devices: readonly FakeDevice[],
  view: DataView,
  pointee: unknown,
): number {
  const flags = view.getUint32(4, true);
  if (flags === 1) container.tracking = true;
  if (flags === 2) container.tracking = false;
  if (flags !== 4) return 0;
  if (!container.tracking || !(pointee instanceof Uint8Array)) return -Errno.EINVAL;
  fillBitmap(devices, view.getBigUint64(8, true), view.getBigUint64(24, true), pointee);
  return 0;
}

/** Tells which pages were written, once. */
export function fillBitmap(
  devices: readonly FakeDevice[],
  iova: bigint,
  pageSize: bigint,
  bitmap: Uint8Array,
): void {
  for (const { driver } of devices) {
    for (const written of driver.dirty) {
      const page = Number((written - iova) / pageSize);
      if (page < 0 || page >= 8 * bitmap.length) continue;
      bitmap[page >> 3] = (bitmap[page >> 3] ?? 0) | (1 << (page & 7));
      driver.dirty.delete(written);
    }
  }
}

/** What /dev/iommu answers. */
export function iommuIoctl(
  kernel: FakeKernel,
  file: FakeFile,
  number: number,
  view: DataView,
  pointee: unknown,
): number {
  const devices = kernel.devices.filter(({ iommufd }) => kernel.files.get(iommufd ?? -1) === file);
  switch (number) {
    case 0x81:
      view.setUint32(8, 5, true);
      return 0;
    case 0x84: {
      if (!(pointee instanceof Uint8Array)) return -Errno.EFAULT;
      new DataView(pointee.buffer).setBigUint64(8, (1n << 48n) - 1n, true);
      view.setUint32(8, 1, true);
      return 0;
    }
    case 0x85:
      return map(kernel, devices, [32, 24], view.getUint32(4, true), view, pointee);
    case 0x86:
      return unmap(kernel, devices, [8, 16], view);
    case 0x8f: {
      if (kernel.options.mapsFiles !== true) return -Errno.ENOTTY;
      const [start, length] = [16, 24].map((at) => Number(view.getBigUint64(at, true)));
      const file = kernel.bytesOf(view.getInt32(12, true));
      const bytes = file.subarray(start, (start ?? 0) + (length ?? 0));
      return map(kernel, devices, [32, 24], view.getUint32(4, true), view, new FakeMemory(bytes));
    }
    default:
      return -Errno.ENOTTY;
  }
}
