import { Errno } from '../errors/index.ts';
import { KernelError } from './kernel-error.ts';
import { type Sysfs, sysfs } from './sysfs.ts';

/** Where a device of the kernel is. */
export interface DevicePlace {
  /** What VFIO calls it: 0000:00:05.0, or the UUID of a mediated device. */
  readonly name: string;
  readonly bus: 'pci' | 'mdev' | 'platform';
  /** Its folder below /sys. */
  readonly folder: string;
  /** The driver that is bound to it; null: none. */
  readonly driver: string | null;
  /** The number of its IOMMU group; null: it has none. */
  readonly group: number | null;
  /** The names of all devices of the group, itself included. */
  readonly groupMembers: readonly string[];
  /**
   * What its own file would be, /dev/vfio/devices/vfioN; null when no driver of VFIO has it. The file itself is there
   * only with CONFIG_VFIO_DEVICE_CDEV (Linux 6.6).
   */
  readonly file: string | null;
}

const PREFIX = 'kernel:';
const PCI = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const FILE = /^\/dev\/vfio\/(?:devices\/(vfio\d+)|(\d+))$/;
/** The name of a device on another bus; it must not lead out of the bus's folder. */
const OTHER = /^\w[\w:.@-]*$/;
const BUSES = ['mdev', 'pci', 'platform'] as const;

/**
 * Whether a text names a device of the kernel and no socket: an address of PCI, the UUID of a mediated device, a file
 * below /dev/vfio, or anything after `kernel:`.
 */
export function isKernelDevice(text: string): boolean {
  return text.startsWith(PREFIX) || PCI.test(text) || UUID.test(text) || FILE.test(text);
}

/** What commands call a device, so that {@link isKernelDevice} knows it. */
export function nameOf({ bus, name }: DevicePlace): string {
  return bus === 'platform' ? `${PREFIX}${name}` : name;
}

/** Finds a device. @throws KernelError ERR_KERNEL_NO_DEVICE that says what is there instead */
export function findDevice(text: string, files: Sysfs = sysfs): DevicePlace {
  const wanted = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text;
  const [, cdev, group] = FILE.exec(wanted) ?? [];
  if (cdev !== undefined) return placeOfFile(cdev, files);
  if (group !== undefined) return placeInGroup(Number(group), files);
  if (PCI.test(wanted) || UUID.test(wanted)) return placeNamed(wanted.toLowerCase(), files);
  if (OTHER.test(wanted)) return placeNamed(wanted, files);
  throw missing(`${wanted} is neither an address of PCI (0000:00:05.0), nor a UUID, nor a file of /dev/vfio`);
}

function placeNamed(name: string, files: Sysfs): DevicePlace {
  const bus = BUSES.find((each) => files.list(folderOf(each, name)).length > 0);
  if (bus === undefined) throw missing(`there is no device ${name} on ${BUSES.join(', ')}`);
  const folder = folderOf(bus, name);
  const group = files.link(`${folder}/iommu_group`);
  const cdev = files.list(`${folder}/vfio-dev`)[0];
  return {
    ...{ name, bus, folder },
    driver: files.link(`${folder}/driver`),
    group: group === null || !/^\d+$/.test(group) ? null : Number(group),
    groupMembers: group === null ? [] : membersOf(group, files),
    file: cdev === undefined ? null : `/dev/vfio/devices/${cdev}`,
  };
}

function folderOf(bus: string, name: string): string {
  return `/sys/bus/${bus}/devices/${name}`;
}

function membersOf(group: string | number, files: Sysfs): readonly string[] {
  return files.list(`/sys/kernel/iommu_groups/${group}/devices`);
}

/** The device behind /dev/vfio/devices/vfioN: its class folder links to it. */
function placeOfFile(cdev: string, files: Sysfs): DevicePlace {
  const name = files.link(`/sys/class/vfio-dev/${cdev}/device`);
  if (name === null) throw missing(`there is no /dev/vfio/devices/${cdev}`);
  return placeNamed(name, files);
}

/** The one device of a group, or the one of it that VFIO has. */
function placeInGroup(group: number, files: Sysfs): DevicePlace {
  const places = membersOf(group, files).map((name) => placeNamed(name, files));
  if (places.length === 0) throw missing(`there is no IOMMU group ${group}`);
  const registered = places.filter(({ file }) => file !== null);
  const [only, ...others] = registered.length > 0 ? registered : places;
  if (only !== undefined && others.length === 0) return only;
  throw missing(
    `group ${group} has several devices: name one of ${places.map(({ name }) => name).join(', ')}`,
  );
}

function missing(why: string): KernelError {
  return new KernelError('ERR_KERNEL_NO_DEVICE', why, Errno.ENODEV);
}
