import type { RefusalError } from '../errors/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { PciConfig } from './pci-config.ts';

/** What DEVICE_GET_INFO says. */
export interface DeviceInfo {
  /** The device can be reset. */
  readonly resettable: boolean;
  /** It is a PCI device: the indices of regions and interrupts are those of vfio-pci. */
  readonly pci: boolean;
  /** Number of regions; indices go from 0. */
  readonly regionCount: number;
  /** Number of interrupt indices. */
  readonly irqCount: number;
}

/** A range of a region, in bytes. */
export interface RegionArea {
  readonly offset: bigint;
  readonly size: bigint;
}

/** What DEVICE_GET_REGION_INFO says of one region. */
export interface RegionInfo {
  readonly index: number;
  /** Bytes; 0 when the device does not have the region. */
  readonly size: bigint;
  /** Where the region begins in its file, in bytes. */
  readonly fileOffset: bigint;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Some or all of it can be mapped: the server sends an fd. */
  readonly mappable: boolean;
  /** What can be mapped: all of it, or the areas of the sparse mmap capability. Empty unless mappable. */
  readonly areas: readonly RegionArea[];
  /** What a region beyond those of its bus is for (capability type); absent where the server does not say. */
  readonly kind?: RegionKind;
}

/** What a region is for (struct vfio_region_info_cap_type, linux/vfio.h). */
export interface RegionKind {
  readonly type: number;
  readonly subtype: number;
}

/** What DEVICE_GET_IRQ_INFO says of one interrupt index. */
export interface IrqInfo {
  readonly index: number;
  /** Number of vectors; 0 when the device does not have the index. */
  readonly count: number;
  /** Eventfds can be given. */
  readonly eventfd: boolean;
  readonly maskable: boolean;
  /** The device masks it when it fires, until it is unmasked. */
  readonly autoMasked: boolean;
  /** Vectors can't be added while some are enabled. */
  readonly noResize: boolean;
}

/** Everything that can be asked of a device without changing it. Parts that the server refuses are null. */
export interface DeviceDescription {
  readonly agreement: Agreement;
  readonly info: DeviceInfo | null;
  /** By index. */
  readonly regions: readonly RegionInfo[];
  /** By index. */
  readonly interrupts: readonly IrqInfo[];
  /** Configuration space, decoded; null when it can't be read in the present state. */
  readonly config: PciConfig | null;
  readonly migration: {
    /** MigrationFlag bits, null when the device can't migrate. */
    readonly flags: bigint | null;
    /** A state's number, perhaps one that this version does not know. */
    readonly state: number | null;
    /** What stop-copy would transfer, in bytes. */
    readonly dataSize: bigint | null;
    /** How it is migrated if not by v2. */
    readonly v1?: V1Description;
  };
  /** What a Ferry server knows of itself. */
  readonly server: unknown;
  /** Why parts are missing. */
  readonly refused: readonly RefusalError[];
}

/** A device that is migrated through a region of v1. */
export interface V1Description {
  /** Index of the region. */
  readonly region: number;
  /** The register, reserved bits included. */
  readonly deviceState: number;
}

/** A region whose memory is shared with the server. Closed with the client. */
export interface MappedRegion {
  readonly index: number;
  /** The file behind it; it is the client's. */
  readonly fd: number;
  /** The areas that could be mapped; their bytes detach on close. */
  readonly areas: readonly MappedArea[];
  /** Unmaps. Idempotent. */
  close(): void;
}

/** One mapped range of a region. */
export interface MappedArea {
  /** Bytes from the start of the region. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What a saving session still has to give, in bytes (struct vfio_precopy_info, linux/vfio.h). */
export interface PrecopyInfo {
  readonly initialBytes: bigint;
  readonly dirtyBytes: bigint;
}

/**
 * Which rung of the ladder has brought a device back to RUNNING:
 * - `reset`: DEVICE_RESET did it, as the kernel's uAPI has it;
 * - `reset, then running`: the server's reset keeps the migration state (libvfio-user), which was set afterwards;
 * - `running, then reset`: the server refused the reset in that state (libvfio-user in STOP and STOP_COPY), and took it
 *   after RUNNING was set.
 */
export type ResetRung = 'reset' | 'reset, then running' | 'running, then reset';

/** How a reset went. */
export interface ResetReport {
  readonly rung: ResetRung;
  /** The state that was read back; null when the device has no migration states to ask for. */
  readonly state: number | null;
}
