import { Errno } from '../../src/errors/index.ts';
import type { KernelSystem, Sysfs } from '../../src/kernel/index.ts';
import type { DmaMemory } from '../../src/native/index.ts';
import { deviceIoctl } from './fake-device-ioctl.ts';
import { FakeDriver, type FakeDriverOptions, type FakeSession } from './fake-driver.ts';
import { type FakeDevice, type FakeFile, FakeMemory, type FakeRegion } from './fake-files.ts';

export type { FakeDevice } from './fake-files.ts';

/** What a fake kernel has besides devices. */
export interface FakeKernelOptions {
  /** Devices have files of their own, and there is /dev/iommu. */
  readonly iommufd?: boolean;
  /** iommufd maps files themselves (Linux 6.14). */
  readonly mapsFiles?: boolean;
  /** IOMMU_UNMAP_DMA fails with this errno. */
  readonly unmapFails?: number;
  /** IOMMU_MAP_DMA fails with this errno. */
  readonly mapFails?: number;
  /** Groups that are not viable. */
  readonly notViable?: readonly number[];
}

const FIRST_FD = 100;
/** A region's index is in the upper bits of the position, as vfio-pci and mtty have it. */
export const REGION_SHIFT = 40n;

/** System calls that behave as those of a kernel with some devices of VFIO. Nothing is left open unnoticed: see `open`. */
export class FakeKernel implements KernelSystem {
  readonly options: FakeKernelOptions;
  readonly devices: FakeDevice[] = [];
  readonly files = new Map<number, FakeFile>();
  /** Every call by name, in order. */
  readonly calls: string[] = [];
  readonly #identities = new Map<FakeFile, string>();
  #next = FIRST_FD;

  constructor(options: FakeKernelOptions = {}) {
    this.options = options;
  }

  /** Adds a device in a group of its own, or in `group`. */
  add(name: string, options: FakeDriverOptions = {}, group = this.devices.length): FakeDevice {
    const driver = new FakeDriver(options);
    const device = { name, group, driver, regions: new Map(), irqs: [], maps: new Map(), iommufd: null };
    this.devices.push(device);
    return device;
  }

  /** What /sys says. */
  get sysfs(): Sysfs {
    const links = new Map<string, string>();
    const lists = new Map<string, string[]>();
    for (const { name, group } of this.devices) {
      const folder = `/sys/bus/${name.includes('-') ? 'mdev' : 'pci'}/devices/${name}`;
      lists.set(folder, ['iommu_group']);
      links.set(`${folder}/iommu_group`, String(group));
      links.set(`${folder}/driver`, 'vfio_mdev');
      if (this.options.iommufd === true) {
        const file = `vfio${this.devices.findIndex((each) => each.name === name)}`;
        lists.set(`${folder}/vfio-dev`, [file]);
        links.set(`/sys/class/vfio-dev/${file}/device`, name);
      }
      const members = `/sys/kernel/iommu_groups/${group}/devices`;
      lists.set(members, [...(lists.get(members) ?? []), name]);
    }
    return {
      read: () => null,
      link: (path) => links.get(path) ?? null,
      list: (path) => lists.get(path) ?? [],
    };
  }

  /** A file of memory, as a memfd is. */
  memfd(size: number): number {
    return this.file({ kind: 'memory', bytes: new Uint8Array(size) });
  }

  /** The bytes of such a file. */
  bytesOf(fd: number): Uint8Array {
    const file = this.files.get(fd);
    if (file?.kind !== 'memory') throw new Error(`${fd} is no memory`);
    return file.bytes;
  }

  file(file: FakeFile): number {
    this.#next += 1;
    this.files.set(this.#next, file);
    return this.#next;
  }

  /** The device writes by DMA: what it reaches must still be given to it. False: nothing is mapped there. */
  dmaWrite(device: FakeDevice, iova: bigint, value: number): boolean {
    for (const [start, { size, memory }] of device.maps) {
      if (iova < start || iova >= start + size) continue;
      if (!memory.given) throw new Error('a device has reached memory that was given up');
      memory.bytes[Number(iova - start)] = value;
      device.driver.dirty.add(iova);
      return true;
    }
    return false;
  }

  open(path: string): number {
    this.calls.push(`open ${path}`);
    const [, group] = /^\/dev\/vfio\/(\d+)$/.exec(path) ?? [];
    const [, cdev] = /^\/dev\/vfio\/devices\/vfio(\d+)$/.exec(path) ?? [];
    if (path === '/dev/vfio/vfio') return this.file({ kind: 'container', groups: [], tracking: false });
    if (path === '/dev/iommu' && this.options.iommufd === true) return this.file({ kind: 'iommu' });
    if (group !== undefined) return this.#openGroup(Number(group));
    const device = this.devices[Number(cdev ?? -1)];
    return device === undefined ? -Errno.ENOENT : this.file({ kind: 'device', device });
  }

  close(fd: number): number {
    return this.files.delete(fd) ? 0 : -Errno.EBADF;
  }

  dup(fd: number): number {
    const file = this.files.get(fd);
    return this.file(file ?? { kind: 'foreign' });
  }

  identify(fd: number): string | null {
    const file = this.files.get(fd);
    if (file?.kind !== 'memory') return null;
    this.#identities.set(file, this.#identities.get(file) ?? `file ${fd}`);
    return this.#identities.get(file) ?? null;
  }

  ioctl(
    fd: number,
    request: number,
    argument: Uint8Array | number,
    pointee: Uint8Array | DmaMemory | null,
  ): number {
    const file = this.files.get(fd);
    if (file === undefined) return -Errno.EBADF;
    this.calls.push(`ioctl ${file.kind} 0x${request.toString(16)}`);
    return deviceIoctl(this, file, request, argument, pointee);
  }

  async ioctlLater(...args: Parameters<KernelSystem['ioctlLater']>): Promise<number> {
    const [fd, request, argument, pointee] = args;
    await new Promise((resolve) => setImmediate(resolve));
    return this.ioctl(fd, request, argument, pointee);
  }

  readLater(fd: number, into: Uint8Array): Promise<number> {
    return this.#transfer(fd, (driver, session) => driver.read(session, into));
  }

  writeLater(fd: number, from: Uint8Array): Promise<number> {
    return this.#transfer(fd, (driver, session) => driver.write(session, from));
  }

  readNow(fd: number, into: Uint8Array): number {
    const file = this.files.get(fd);
    return file?.kind === 'session' ? file.device.driver.read(file.session, into) : -Errno.EBADF;
  }

  writeNow(fd: number, from: Uint8Array): number {
    const file = this.files.get(fd);
    return file?.kind === 'session' ? file.device.driver.write(file.session, from) : -Errno.EBADF;
  }

  pread(fd: number, into: Uint8Array, offset: number, length: number, position: number | bigint): number {
    return this.#region(fd, position, (region, at) =>
      region.read(at, into.subarray(offset, offset + length)),
    );
  }

  pwrite(fd: number, from: Uint8Array, offset: number, length: number, position: number | bigint): number {
    return this.#region(fd, position, (region, at) =>
      region.write(at, from.subarray(offset, offset + length)),
    );
  }

  poll(set: Int32Array): number {
    const file = this.files.get(set[0] ?? -1);
    if (file?.kind !== 'session') return 0;
    set[2] = file.device.driver.ready(file.session, set[1] ?? 0);
    return set[2] === 0 ? 0 : 1;
  }

  map(fd: number): ArrayBuffer | number {
    return this.files.has(fd) ? new ArrayBuffer(4096) : -Errno.EBADF;
  }

  unmap(): number {
    return 0;
  }

  guardMappings(): number {
    return 0;
  }

  mapForDma(fd: number, offset: number | bigint, length: number): DmaMemory | number {
    // A file of the machine stands for memory of zeros.
    const foreign = this.files.get(fd)?.kind === 'foreign';
    const file = foreign ? new Uint8Array(Number(offset) + length) : this.bytesOf(fd);
    const bytes = file.subarray(Number(offset), Number(offset) + length);
    // The handle is opaque to all but this kernel, so that any object will do.
    return new FakeMemory(bytes) as unknown as DmaMemory;
  }

  unmapForDma(memory: DmaMemory): number {
    const fake: unknown = memory;
    if (!(fake instanceof FakeMemory)) throw new TypeError('no memory for DMA');
    fake.given = false;
    return 0;
  }

  eventfd(): number {
    return this.file({ kind: 'eventfd' });
  }

  eventfdRead(): number {
    return 1;
  }

  watchStart(fd: number, onReadable: () => void): number | ReturnType<typeof watchHandle> {
    const file = this.files.get(fd);
    if (file?.kind === 'session' && !file.device.driver.options.poll) return -Errno.EPERM;
    if (file?.kind === 'session' && this.poll(Int32Array.of(fd, 1, 0)) > 0) setImmediate(onReadable);
    return watchHandle();
  }

  watchClose(): void {}

  #openGroup(group: number): number {
    if (!this.devices.some((each) => each.group === group)) return -Errno.ENOENT;
    const taken = [...this.files.values()].some((file) => file.kind === 'group' && file.group === group);
    return taken ? -Errno.EBUSY : this.file({ kind: 'group', group });
  }

  async #transfer(fd: number, act: (driver: FakeDriver, session: FakeSession) => number): Promise<number> {
    const file = this.files.get(fd);
    if (file?.kind !== 'session') return -Errno.EBADF;
    const { driver } = file.device;
    if (driver.underWay > 0) throw new Error('two transfers of one session at a time');
    driver.underWay += 1;
    await new Promise((resolve) => setImmediate(resolve));
    driver.underWay -= 1;
    return act(driver, file.session);
  }

  #region(fd: number, position: number | bigint, act: (region: FakeRegion, at: number) => number): number {
    const file = this.files.get(fd);
    if (file?.kind !== 'device') return -Errno.EBADF;
    const index = Number(BigInt(position) >> REGION_SHIFT);
    const at = Number(BigInt(position) & ((1n << REGION_SHIFT) - 1n));
    const region = file.device.regions.get(index) ?? uartOf(file.device, index);
    return region === null ? -Errno.EINVAL : act(region, at);
  }
}

/** BAR0 is the UART; all else reads as zeros. One register at a time. */
function uartOf({ driver }: FakeDevice, index: number): FakeRegion | null {
  const size = sizeOf(index);
  if (size === 0) return null;
  return {
    size,
    read: (offset, into) => {
      into[0] = index === 0 ? (driver.registers[offset] ?? 0) : 0;
      return Math.min(1, into.length);
    },
    write: (offset, from) => {
      if (index === 0) driver.registers[offset] = from[0] ?? 0;
      return Math.min(1, from.length);
    },
  };
}

/** Sizes of mtty's regions. */
export function sizeOf(index: number): number {
  return index === 7 ? 0xff : index < 2 ? 8 : 0;
}

// Opaque as well.
function watchHandle() {
  return {} as unknown as Exclude<ReturnType<KernelSystem['watchStart']>, number>;
}
