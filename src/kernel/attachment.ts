import { Errno } from '../errors/index.ts';
import type { DmaSpace } from './dma-space.ts';
import type { Domain, Way } from './domain.ts';
import { FileDomain } from './file-domain.ts';
import { GroupDomain } from './group-domain.ts';
import { KernelError } from './kernel-error.ts';
import type { KernelFile } from './kernel-file.ts';
import type { DevicePlace } from './place.ts';
import type { KernelSystem } from './system.ts';

/** A device that has been opened, and what it can reach. */
export interface Attachment {
  readonly domain: Domain;
  readonly device: KernelFile;
  /** The maps that are made for this device, in the address space of the domain. */
  readonly space: DmaSpace;
  /** What the kernel said of the group before it was given a container (GroupFlag); null with iommufd. */
  readonly groupFlags: number | null;
  /** Closes what was opened for the device. Idempotent. */
  close(): void;
}

/** What may be chosen about how a device is opened. */
export interface AttachOptions {
  readonly way?: Way | null;
  /** The address space that it is to be in; without, one of its own, or that of its group. */
  readonly domain?: Domain | null;
}

/** A group with devices of this process. */
interface UsedGroup {
  readonly domain: Domain;
  /** Their names. */
  readonly devices: Set<string>;
}

/**
 * The IOMMU groups that this process has, by number. The kernel gives a group once: its second device has to come by what
 * was opened for the first.
 */
type UsedGroups = Map<number, UsedGroup>;

const groupsOf = new WeakMap<KernelSystem, UsedGroups>();

/** Opens a device, by its own file where the kernel has such files and nothing else was chosen. @throws KernelError */
export function attach(system: KernelSystem, place: DevicePlace, options: AttachOptions = {}): Attachment {
  const groups: UsedGroups = groupsOf.get(system) ?? new Map();
  groupsOf.set(system, groups);
  const domain = sharedDomain(groups, place, options) ?? newDomain(system, place, options.way ?? null);
  try {
    const { device, groupFlags, leave } = domain.enter(place);
    const forget = remember(groups, place, domain);
    let closed = false;
    const close = (): void => {
      if (closed) return;
      closed = true;
      leave();
      forget();
      if (domain.empty) domain.close();
    };
    return { domain, device, space: domain.space.beside(), groupFlags, close };
  } catch (error) {
    if (domain.empty) domain.close();
    throw error;
  }
}

/** Notes that a device is in a domain; returns what takes the note away. */
function remember(groups: UsedGroups, { name, group }: DevicePlace, domain: Domain): () => void {
  if (group === null) return () => {};
  const { devices } = groups.get(group) ?? { devices: new Set() };
  groups.set(group, { domain, devices: devices.add(name) });
  return () => {
    devices.delete(name);
    if (devices.size === 0) groups.delete(group);
  };
}

/** The domain that a device has to be in, or is wanted in; null when it may have one of its own. */
function sharedDomain(
  groups: UsedGroups,
  { name, group }: DevicePlace,
  { way = null, domain: wanted = null }: AttachOptions,
): Domain | null {
  const used = group === null ? undefined : groups.get(group);
  if (used?.devices.has(name) === true) throw busy(`this process has ${name} open already`);
  const found = used?.domain ?? wanted;
  if (found === null) return null;
  if ((wanted === null || found === wanted) && (way === null || way === found.way)) return found;
  throw busy(`this process has opened the group of ${name} otherwise: close its other devices first`);
}

function busy(why: string): KernelError {
  return new KernelError('ERR_KERNEL_BUSY', why, Errno.EBUSY);
}

function newDomain(system: KernelSystem, place: DevicePlace, way: Way | null): Domain {
  return (way ?? preferred(system, place)) === 'cdev' ? new FileDomain(system) : new GroupDomain(system);
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
