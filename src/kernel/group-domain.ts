import { Errno } from '../errors/index.ts';
import { DmaSpace } from './dma-space.ts';
import type { Domain, Member } from './domain.ts';
import { notUsable } from './kernel-error.ts';
import { KernelFile } from './kernel-file.ts';
import type { DevicePlace } from './place.ts';
import type { KernelSystem } from './system.ts';
import { Type1Container } from './type1-container.ts';
import { decode, encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';
import { GroupFlag, GroupStatus } from './uapi/structs.ts';

/** A group that this process has, which the kernel gives to it once. */
interface OpenGroup {
  readonly number: number;
  readonly file: KernelFile;
  readonly flags: number;
  devices: number;
}

/** A container, with the groups that are in it. */
export class GroupDomain implements Domain {
  readonly way = 'group';
  readonly container: Type1Container;
  readonly space: DmaSpace;
  readonly #system: KernelSystem;
  readonly #groups = new Map<number, OpenGroup>();

  /** @throws KernelError */
  constructor(system: KernelSystem) {
    this.#system = system;
    this.container = Type1Container.open(system);
    this.space = new DmaSpace(system, this.container);
  }

  get empty(): boolean {
    return this.#groups.size === 0;
  }

  enter(place: DevicePlace): Member {
    const group = this.#groupOf(place);
    group.devices += 1;
    try {
      const device = new KernelFile(this.#system, deviceIn(group.file, place), place.name);
      const leave = (): void => {
        device.close();
        this.#leave(group);
      };
      return { device, groupFlags: group.flags, leave };
    } catch (error) {
      this.#leave(group);
      throw error;
    }
  }

  close(): void {
    this.container.close();
  }

  #groupOf(place: DevicePlace): OpenGroup {
    const known = place.group === null ? undefined : this.#groups.get(place.group);
    if (known !== undefined) return known;
    const group = openGroup(this.#system, place);
    try {
      this.#put(group.file, place);
    } catch (error) {
      group.file.close();
      throw error;
    }
    this.#groups.set(group.number, group);
    return group;
  }

  /** The kind of IOMMU can be chosen when the first group is in; another one may have reserved addresses of its own. */
  #put(group: KernelFile, { name }: DevicePlace): void {
    const fd = new Uint8Array(4);
    new DataView(fd.buffer).setInt32(0, this.container.file.fd, true);
    const advice = { [Errno.EINVAL]: `${name} can't share what other devices of this process reach` };
    group.ioctl(VfioIoctl.GROUP_SET_CONTAINER, { argument: fd }, advice);
    if (this.empty) this.container.activate();
    else this.container.refresh();
  }

  #leave(group: OpenGroup): void {
    group.devices -= 1;
    if (group.devices > 0) return;
    this.#groups.delete(group.number);
    group.file.close();
  }
}

function openGroup(system: KernelSystem, { name, group, driver, groupMembers }: DevicePlace): OpenGroup {
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
  if ((flags & GroupFlag.VIABLE) !== 0) return { number: group, file, flags, devices: 0 };
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
