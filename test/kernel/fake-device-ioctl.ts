import { Errno } from '../../src/errors/index.ts';
import type { DmaMemory } from '../../src/native/index.ts';
import type { FakeDevice, FakeFile } from './fake-files.ts';
import { containerIoctl, fillBitmap, iommuIoctl } from './fake-iommu-ioctl.ts';
import { type FakeKernel, REGION_SHIFT, sizeOf } from './fake-kernel.ts';

/** Numbers as in linux/vfio.h and linux/iommufd.h: nothing of Ferry's declarations is used. */
const [GET, SET, PROBE] = [0x1_0000, 0x2_0000, 0x4_0000];

/** What each kind of file answers to ioctls. */
export function deviceIoctl(
  kernel: FakeKernel,
  file: FakeFile,
  request: number,
  argument: Uint8Array | number,
  pointee: Uint8Array | DmaMemory | null,
): number {
  const number = (request & 0xff) - 100;
  if (typeof argument === 'number') {
    if (file.kind === 'device' && number === 11) return file.device.driver.reset();
    if (file.kind !== 'container') return -Errno.ENOTTY;
    return number === 1 ? Number(argument === 3 || argument === 1) : 0;
  }
  const view = new DataView(argument.buffer, argument.byteOffset, argument.byteLength);
  switch (file.kind) {
    case 'container':
      return containerIoctl(kernel, file, number, view, pointee);
    case 'group':
      return groupIoctl(kernel, file.group, number, view, argument);
    case 'iommu':
      return iommuIoctl(kernel, file, request & 0xff, view, pointee);
    case 'device':
      return ofDevice(kernel, file.device, number, view, pointee);
    case 'session':
      return precopyInfo(file, view);
    default:
      return -Errno.ENOTTY;
  }
}

function groupIoctl(
  kernel: FakeKernel,
  group: number,
  number: number,
  view: DataView,
  argument: Uint8Array,
): number {
  if (number === 3) view.setUint32(4, kernel.options.notViable?.includes(group) === true ? 0 : 1, true);
  if (number === 4) {
    const container = kernel.files.get(view.getInt32(0, true));
    if (container?.kind !== 'container') return -Errno.EBADF;
    joinContainer(kernel, container.groups, group);
  }
  if (number !== 6) return 0;
  const name = new TextDecoder().decode(argument.subarray(0, argument.indexOf(0)));
  const device = kernel.devices.find((each) => each.name === name && each.group === group);
  return device === undefined ? -Errno.ENODEV : kernel.file({ kind: 'device', device });
}

function ofDevice(
  kernel: FakeKernel,
  device: FakeDevice,
  number: number,
  view: DataView,
  pointee: Uint8Array | DmaMemory | null,
): number {
  switch (number) {
    case 7:
      view.setUint32(4, 2 | (device.driver.options.saysResettable ? 1 : 0), true);
      view.setUint32(8, 9 + device.regions.size, true);
      view.setUint32(12, 5, true);
      return 0;
    case 8:
      return regionInfo(device, view);
    case 9:
      return irqInfo(view);
    case 10:
      return setIrqs(device, view);
    case 17:
      return feature(kernel, device, view, pointee);
    case 18:
      return bind(kernel, device, view);
    case 19:
      return 0;
    default:
      return -Errno.ENOTTY;
  }
}

/** What is mapped in a container, the devices of a group that joins it reach as well. */
function joinContainer(kernel: FakeKernel, groups: number[], group: number): void {
  const present = kernel.devices.find((each) => groups.includes(each.group));
  groups.push(group);
  for (const device of kernel.devices) {
    if (device.group !== group) continue;
    device.maps.clear();
    for (const [iova, map] of present?.maps ?? []) device.maps.set(iova, map);
  }
}

/** All devices of a group have to be in the same iommufd: the kernel gives the group's DMA to one owner. */
function bind(kernel: FakeKernel, device: FakeDevice, view: DataView): number {
  const fd = view.getInt32(8, true);
  if (kernel.files.get(fd)?.kind !== 'iommu') return -Errno.EBADF;
  const others = kernel.devices.filter(({ group }) => group === device.group);
  const taken = others.some(({ iommufd }) => iommufd !== null && iommufd !== fd && kernel.files.has(iommufd));
  if (taken) return -Errno.EBUSY;
  device.iommufd = fd;
  view.setUint32(12, 1, true);
  return 0;
}

function regionInfo(device: FakeDevice, view: DataView): number {
  const index = view.getUint32(8, true);
  const region = device.regions.get(index);
  if (index >= 9 && region === undefined) return -Errno.EINVAL;
  const size = region?.size ?? sizeOf(index);
  view.setUint32(4, size === 0 ? 0 : region?.kind === undefined ? 3 : 11, true);
  view.setBigUint64(16, BigInt(size), true);
  view.setBigUint64(24, size === 0 ? 0n : BigInt(index) << REGION_SHIFT, true);
  view.setUint32(0, region?.kind === undefined ? 32 : 48, true);
  if (region?.kind === undefined) return 0;
  view.setUint32(12, 32, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 1, true);
  view.setUint32(40, region.kind.type, true);
  view.setUint32(44, region.kind.subtype, true);
  return 0;
}

function irqInfo(view: DataView): number {
  const index = view.getUint32(8, true);
  if (index >= 3) return -Errno.EINVAL;
  view.setUint32(4, index === 0 ? 7 : 9, true);
  view.setUint32(12, index === 0 ? 1 : 4, true);
  return 0;
}

function setIrqs(device: FakeDevice, view: DataView): number {
  const [argsz, flags, index, start, count] = [0, 4, 8, 12, 16].map((at) => view.getUint32(at, true));
  const content = Buffer.from(view.buffer, view.byteOffset + 20, (argsz ?? 20) - 20).toString('hex');
  device.irqs.push([flags ?? 0, index ?? 0, start ?? 0, count ?? 0, content]);
  return index === 2 ? -Errno.EINVAL : 0;
}

/** Data of each feature: GET and SET, and the size that is needed. */
const FEATURES: Readonly<Record<number, readonly [get: boolean, set: boolean, size: number]>> = {
  1: [true, false, 8],
  2: [true, true, 8],
  6: [false, true, 24],
  7: [false, true, 0],
  8: [true, false, 32],
  9: [true, false, 8],
  12: [false, true, 0],
};

function feature(kernel: FakeKernel, device: FakeDevice, view: DataView, pointee: unknown): number {
  const { driver } = device;
  const [argsz, flags] = [view.getUint32(0, true), view.getUint32(4, true)];
  const [id, how] = [flags & 0xffff, flags & (GET | SET)];
  const known = FEATURES[id];
  if ((flags & ~0xffff & ~(GET | SET | PROBE)) !== 0) return -Errno.EINVAL;
  if ((flags & PROBE) === 0 && (how === 0 || how === (GET | SET))) return -Errno.EINVAL;
  if (known === undefined || isLacking(driver, id)) return -Errno.ENOTTY;
  const [get, set, size] = known;
  if (((how & GET) !== 0 && !get) || ((how & SET) !== 0 && !set)) return -Errno.EINVAL;
  if ((flags & PROBE) !== 0) return 0;
  if (argsz < 8 + size) return -Errno.EINVAL;
  return carryOut(kernel, device, id, how, view, pointee);
}

function isLacking({ options }: FakeDevice['driver'], id: number): boolean {
  if (id === 9) return !options.tellsSize || options.flags === null;
  if (id === 12) return !options.precopyV2;
  if (id >= 6 && id <= 8) return options.logging === 'none';
  return options.flags === null;
}

function carryOut(
  kernel: FakeKernel,
  device: FakeDevice,
  id: number,
  how: number,
  view: DataView,
  pointee: unknown,
): number {
  const { driver } = device;
  switch (id) {
    case 1:
      view.setBigUint64(8, BigInt(driver.options.flags ?? 0), true);
      return 0;
    case 2:
      return how === GET ? tell(driver.state, view) : go(kernel, device, view);
    case 6:
      return startLogging(driver, view, pointee);
    case 7:
      driver.logged = null;
      return 0;
    case 8:
      if (driver.options.logging === 'no report') return -Errno.EOPNOTSUPP;
      if (driver.logged === null || !(pointee instanceof Uint8Array)) return -Errno.EINVAL;
      fillBitmap([device], view.getBigUint64(8, true), view.getBigUint64(24, true), pointee);
      return 0;
    case 9:
      view.setBigUint64(8, 96n, true);
      return 0;
    default:
      return 0;
  }
}

function tell(state: number, view: DataView): number {
  view.setUint32(8, state, true);
  view.setInt32(12, -1, true);
  return 0;
}

function go(kernel: FakeKernel, device: FakeDevice, view: DataView): number {
  const result = device.driver.go(view.getUint32(8, true));
  if (typeof result === 'number') return result;
  view.setInt32(12, result === null ? -1 : kernel.file({ kind: 'session', device, session: result }), true);
  return 0;
}

function startLogging(driver: FakeDevice['driver'], view: DataView, pointee: unknown): number {
  const count = view.getUint32(16, true);
  if (count === 0 || !(pointee instanceof Uint8Array)) return -Errno.EINVAL;
  if (count > 256) return -Errno.E2BIG;
  const list = new DataView(pointee.buffer);
  const ranges = Array.from({ length: count }, (_, i) => ({
    iova: list.getBigUint64(16 * i, true),
    length: list.getBigUint64(16 * i + 8, true),
  }));
  // A driver may choose another page size than it is asked for.
  driver.logged = { pageSize: view.getBigUint64(8, true), ranges };
  view.setBigUint64(8, 8192n, true);
  return 0;
}

function precopyInfo({ device, session }: Extract<FakeFile, { kind: 'session' }>, view: DataView): number {
  const { state } = device.driver;
  if (!session.alive) return -Errno.ENODEV;
  if (view.getUint32(0, true) < 24 || (state !== 6 && state !== 7)) return -Errno.EINVAL;
  view.setUint32(4, device.driver.reinit ? 1 : 0, true);
  view.setBigUint64(8, BigInt(Math.max(24 - session.at, 0)), true);
  view.setBigUint64(16, 0n, true);
  return 0;
}
