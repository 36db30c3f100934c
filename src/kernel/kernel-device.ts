import {
  ClientError,
  type DeviceDescription,
  type DeviceInfo,
  type DmaRange,
  type GuestRegion,
  type IrqInfo,
  type MappedRegion,
  type MovableDevice,
  type RegionInfo,
  type ResetReport,
} from '../client/index.ts';
import { Errno, type FerryError } from '../errors/index.ts';
import {
  type Agreement,
  littleEndian,
  negotiate,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
} from '../protocol/index.ts';
import { RESET_STATE, stateName } from '../states/index.ts';
import { type Attachment, attach } from './attachment.ts';
import type { KernelPrecopyInfo } from './data-session.ts';
import { describeDevice } from './describe.ts';
import { infoOf } from './device-info.ts';
import { KernelDmaLogging } from './dma-logging.ts';
import type { DmaMapping, DmaSpace } from './dma-space.ts';
import type { Way } from './domain.ts';
import { KernelFeatures } from './features.ts';
import { KernelInterrupts } from './interrupts.ts';
import { KernelError } from './kernel-error.ts';
import { type KernelReport, reportOf } from './kernel-report.ts';
import { KernelMigration } from './migration.ts';
import { type DevicePlace, findDevice, nameOf } from './place.ts';
import { KernelRegions } from './regions.ts';
import { resetFailed } from './reset-error.ts';
import type { Sysfs } from './sysfs.ts';
import { type KernelSystem, kernelSystem } from './system.ts';
import type { Type1Container } from './type1-container.ts';
import { VfioIoctl } from './uapi/ioctls.ts';

/** How a device is opened. Everything has a default. */
export interface OpenOptions {
  /** By its group, or by its own file with iommufd; the latter where the kernel has it. */
  readonly way?: Way | null;
  /**
   * Another device of this process, with which it is to share one address space: what is mapped for one of them both
   * reach, and the same memory is pinned once. Devices of one IOMMU group always do.
   */
  readonly beside?: KernelDevice;
  /** The system calls; those of this machine. */
  readonly system?: KernelSystem;
  /** The files of /sys. */
  readonly sysfs?: Sysfs;
}

/** No extension of vfio-user is agreed with a kernel. */
const { agreed: AGREEMENT } = negotiate(
  { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, capabilities: null },
  {},
);

/**
 * A device that a driver of the kernel gives to this process, which nobody else has meanwhile. It is used like one behind
 * a socket ({@link MovableDevice}); what only the kernel has is beside it. Errors are KernelErrors.
 */
export class KernelDevice implements MovableDevice {
  readonly agreement: Agreement = AGREEMENT;
  readonly place: DevicePlace;
  readonly interrupts: KernelInterrupts;
  readonly features: KernelFeatures;
  readonly regions: KernelRegions;
  readonly migration: KernelMigration;
  /** What it can reach by DMA. */
  readonly space: DmaSpace;
  readonly claim = noClaims;
  readonly retire = noClaims;
  readonly release = noClaims;
  readonly forceRelease = noClaims;
  readonly #attachment: Attachment;
  readonly #info: DeviceInfo;
  readonly #logging: KernelDmaLogging;
  readonly #memory = new Map<GuestRegion, DmaMapping>();

  private constructor(system: KernelSystem, place: DevicePlace, attachment: Attachment, info: DeviceInfo) {
    const { device, space } = attachment;
    this.place = place;
    this.#info = info;
    this.space = space;
    this.#attachment = attachment;
    this.regions = new KernelRegions(device);
    this.interrupts = new KernelInterrupts(device);
    this.features = new KernelFeatures(device);
    this.migration = new KernelMigration(system, this.features, place.name);
    this.#logging = new KernelDmaLogging(this.features, space);
  }

  /**
   * Opens a device by its address of PCI, the UUID of a mediated device, or a file below /dev/vfio. Nothing of it is
   * changed. @throws KernelError: ERR_KERNEL_NO_DEVICE, ERR_KERNEL_BUSY
   */
  static async open(address: string, options: OpenOptions = {}): Promise<KernelDevice> {
    const place = findDevice(address, options.sysfs);
    const system = options.system ?? kernelSystem();
    const { way = null, beside } = options;
    const domain = beside === undefined ? null : beside.#attachment.domain;
    const attachment = attach(system, place, { way, domain });
    try {
      // Asked first of all: drivers may know themselves only from then on (mtty takes no SET_IRQS before).
      return new KernelDevice(system, place, attachment, infoOf(attachment.device));
    } catch (error) {
      attachment.close();
      throw error;
    }
  }

  /** What messages and commands call it. */
  get path(): string {
    return nameOf(this.place);
  }

  /** The descriptor of the device, which stays this object's. */
  get fd(): number {
    return this.#attachment.device.fd;
  }

  /** The container, which can track what all its devices write; null with iommufd. */
  get container(): Type1Container | null {
    return this.#attachment.domain.container;
  }

  /** Whether a reset may work: not every driver that can says so (mtty). */
  get mayReset(): boolean {
    return this.#info.resettable || this.migration.flags() !== null;
  }

  get closedBecause(): FerryError | null {
    if (!this.#attachment.device.closed) return null;
    return new KernelError('ERR_KERNEL_CLOSED', `${this.path} has been closed`, Errno.EBADF);
  }

  async info(): Promise<DeviceInfo> {
    return this.#info;
  }

  async regionInfo(index: number): Promise<RegionInfo> {
    return this.regions.info(index);
  }

  async irqInfo(index: number): Promise<IrqInfo> {
    return this.interrupts.info(index);
  }

  describe(): Promise<DeviceDescription> {
    return describeDevice(this);
  }

  async mapRegion(index: number): Promise<MappedRegion> {
    return this.regions.map(index);
  }

  async read(region: number, offset: number | bigint, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    this.regions.read(region, offset, bytes);
    return bytes;
  }

  async write(region: number, offset: number | bigint, data: Uint8Array): Promise<void> {
    this.regions.write(region, offset, data);
  }

  async readU8(region: number, offset: number | bigint): Promise<number> {
    return this.regions.register(region, offset, 1).getUint8(0);
  }

  async readU32(region: number, offset: number | bigint): Promise<number> {
    return this.regions.register(region, offset, 4).getUint32(0, littleEndian);
  }

  async readU64(region: number, offset: number | bigint): Promise<bigint> {
    return this.regions.register(region, offset, 8).getBigUint64(0, littleEndian);
  }

  async writeU8(region: number, offset: number | bigint, value: number): Promise<void> {
    this.regions.setRegister(region, offset, 1, value);
  }

  async writeU32(region: number, offset: number | bigint, value: number): Promise<void> {
    this.regions.setRegister(region, offset, 4, value);
  }

  async writeU64(region: number, offset: number | bigint, value: bigint): Promise<void> {
    this.regions.setRegister(region, offset, 8, value);
  }

  /** Lets the device reach a region of guest memory; see {@link DmaSpace}. */
  async mapMemory(region: GuestRegion): Promise<void> {
    const { iova, size, fd, readable, writable } = region;
    if (fd === null) {
      const message = 'a device of the kernel reaches only memory that has a file behind it';
      throw new KernelError('ERR_KERNEL_ARGUMENT', message, Errno.EINVAL, { iova });
    }
    this.#memory.set(region, await this.space.map({ iova, size, fd, readable, writable }));
  }

  /** Takes it back: when this resolves the device can't reach it any more. */
  async unmapMemory(region: GuestRegion): Promise<void> {
    const mapping = this.#memory.get(region);
    if (mapping === undefined) {
      throw new KernelError('ERR_KERNEL_ARGUMENT', 'the region is not mapped', Errno.EINVAL, {
        iova: region.iova,
      });
    }
    await this.space.unmap(mapping);
    this.#memory.delete(region);
  }

  /** Resets the device; any migration of it is over. @throws KernelError ERR_KERNEL_LACKS where its driver can't */
  async reset(): Promise<ResetReport> {
    // Not every driver that can be asked says so in the flags of the device (mtty).
    const { device } = this.#attachment;
    const result = await this.migration.endingSession(() => device.tryLater(VfioIoctl.DEVICE_RESET));
    if (result < 0) throw resetFailed(this.place, -result);
    if (this.migration.flags() === null) return { rung: 'reset', state: null };
    const state = await this.migration.state();
    if (state === RESET_STATE) return { rung: 'reset', state };
    const message = `${this.path} was reset and is in ${stateName(state)}`;
    throw new ClientError('ERR_RESET_FAILED', message, { state: stateName(state) });
  }

  async migrationFlags(): Promise<bigint | null> {
    return this.migration.flags();
  }

  migrationState(): Promise<number> {
    return this.migration.state();
  }

  setMigrationState(state: number): Promise<void> {
    return this.migration.setState(state);
  }

  migrationDataSize(): Promise<bigint | null> {
    return this.migration.dataSize();
  }

  precopyInfo(): Promise<KernelPrecopyInfo | null> {
    return this.migration.precopyInfo();
  }

  readMigrationData(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    return this.migration.read(maxBytes, consume);
  }

  writeMigrationData(bytes: Uint8Array): Promise<void> {
    return this.migration.write(bytes);
  }

  startDmaLogging(pageSize: bigint, ranges: readonly DmaRange[]): Promise<bigint> {
    return this.#logging.start(pageSize, ranges);
  }

  stopDmaLogging(): Promise<void> {
    return this.#logging.stop();
  }

  dmaLog(iova: bigint, length: bigint, pageSize: bigint): Promise<Uint8Array> {
    return this.#logging.report(iova, length, pageSize);
  }

  /** What is to be known of it besides, in place of what a server would tell of itself. */
  async inspectServer(): Promise<{ readonly kernel: KernelReport }> {
    return { kernel: await reportOf(this, this.#attachment, this.#logging) };
  }

  /** The kernel knows no claims: that nobody else can open the device is what keeps others away. */
  async claimStatus(): Promise<null> {
    return null;
  }

  /** Closes it at once; what was mapped for it goes soon after. To wait for that: {@link dispose}. Idempotent. */
  close(): void {
    void this.space.unmapAll();
    this.migration.close();
    this.interrupts.close();
    this.#attachment.close();
  }

  /** Takes all memory back from it, and closes it. */
  async dispose(): Promise<void> {
    await this.space.unmapAll();
    this.close();
  }
}

function noClaims(): Promise<never> {
  return Promise.reject(new ClientError('ERR_NOT_NEGOTIATED', 'the kernel knows no claims'));
}
