import { Errno } from '../errors/index.ts';
import { DmaSpace } from './dma-space.ts';
import { IommufdSpace } from './iommufd-space.ts';
import { KernelError } from './kernel-error.ts';
import { KernelFile } from './kernel-file.ts';
import type { DevicePlace } from './place.ts';
import type { KernelSystem } from './system.ts';
import { Type1Container } from './type1-container.ts';
import { decode, encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';
import { AttachIommufd, BindIommufd, GroupFlag, GroupStatus } from './uapi/structs.ts';

/** How a device is reached: by its group and a container, or by its own file and iommufd. */
export type Way = 'group' | 'cdev';

/** A device that has been opened, and what it can reach. */
export interface Attachment {
  readonly way: Way;
  readonly device: KernelFile;
  readonly space: DmaSpace;
  /** The container, which can track written pages; null with iommufd. */
  readonly container: Type1Container | null;
  /** What the kernel said of the group before it was given a container (GroupFlag); null with iommufd. */
  readonly groupFlags: number | null;
  /** Closes what was opened for the device. Idempotent. */
  close(): void;
}

/** Opens a device in one of the ways, the newer one where the kernel has it. @throws KernelError */
export function attach(system: KernelSystem, place: DevicePlace, way: Way | null = null): Attachment {
  return (way ?? preferred(system, place)) === 'cdev'
    ? attachByFile(system, place)
    : attachByGroup(system, place);
}

/** A device's own file is of no use without iommufd, and a kernel may lack either. */
function preferred(system: KernelSystem, { file }: DevicePlace): Way {
  return file !== null && canOpen(system, '/dev/iommu') && canOpen(system, file) ? 'cdev' : 'group';
}

function canOpen(system: KernelSystem, path: string): boolean {
  const fd = system.open(path);
  if (fd >= 0) system.close(fd);
  return fd >= 0;
}

function attachByGroup(system: KernelSystem, place: DevicePlace): Attachment {
  const files: KernelFile[] = [];
  const close = (): void => {
    for (const file of files.toReversed()) file.close();
  };
  try {
    const container = Type1Container.open(system);
    files.push(container.file);
    const { group, flags: groupFlags } = openGroup(system, place);
    files.push(group);
    const fd = new Uint8Array(4);
    new DataView(fd.buffer).setInt32(0, container.file.fd, true);
    group.ioctl(VfioIoctl.GROUP_SET_CONTAINER, { argument: fd });
    container.activate();
    const device = new KernelFile(system, deviceIn(group, place), place.name);
    files.push(device);
    return { way: 'group', device, container, space: new DmaSpace(system, container), groupFlags, close };
  } catch (error) {
    close();
    throw error;
  }
}

function openGroup(
  system: KernelSystem,
  { name, group, driver, groupMembers }: DevicePlace,
): { group: KernelFile; flags: number } {
  if (group === null) {
    const why =
      driver === null ? 'no driver is bound to it' : `the driver ${driver} does not give it to VFIO`;
    throw notUsable(`${name} has no IOMMU group: ${why}, or there is no IOMMU; ferry doctor says more`);
  }
  const file = KernelFile.open(system, `/dev/vfio/${group}`, {
    [Errno.EBUSY]: `another process has the group of ${name}: end that first`,
    [Errno.ENOENT]: `bind ${name} to a driver of VFIO, such as vfio-pci (now: ${driver ?? 'none'})`,
  });
  const status = encode(GroupStatus, { argsz: GroupStatus.size, flags: 0 });
  file.ioctl(VfioIoctl.GROUP_GET_STATUS, { argument: status });
  const { flags } = decode(GroupStatus, status);
  if ((flags & GroupFlag.VIABLE) !== 0) return { group: file, flags };
  file.close();
  const others = groupMembers.filter((each) => each !== name).join(', ');
  throw notUsable(
    `group ${group} can't be used: bind its other devices to vfio-pci too, or to no driver (${others})`,
  );
}

function deviceIn(group: KernelFile, { name }: DevicePlace): number {
  const argument = new TextEncoder().encode(`${name}\0`);
  return group.ioctl(
    VfioIoctl.GROUP_GET_DEVICE_FD,
    { argument, context: { device: name } },
    {
      [Errno.EBUSY]: 'another process has the device',
      [Errno.ENODEV]: 'its driver does not give it to VFIO',
    },
  );
}

function attachByFile(system: KernelSystem, { name, file }: DevicePlace): Attachment {
  if (file === null) throw notUsable(`${name} has no file of its own: the kernel gives it by its group`);
  const files: KernelFile[] = [];
  const close = (): void => {
    for (const each of files.toReversed()) each.close();
  };
  try {
    const space = IommufdSpace.open(system);
    files.push(space.file);
    const opened = KernelFile.open(system, file);
    files.push(opened);
    const bind = { argsz: BindIommufd.size, flags: 0, iommufd: space.file.fd, outDevid: 0 };
    opened.ioctl(
      VfioIoctl.DEVICE_BIND_IOMMUFD,
      { argument: encode(BindIommufd, bind) },
      { [Errno.EBUSY]: `another process has ${name}, or its group: end that first` },
    );
    const attachTo = { argsz: AttachIommufd.size, flags: 0, ptId: space.id };
    opened.ioctl(VfioIoctl.DEVICE_ATTACH_IOMMUFD_PT, { argument: encode(AttachIommufd, attachTo) });
    return {
      way: 'cdev',
      device: opened,
      container: null,
      space: new DmaSpace(system, space),
      groupFlags: null,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function notUsable(why: string): KernelError {
  return new KernelError('ERR_KERNEL_NO_DEVICE', why, Errno.ENODEV);
}
