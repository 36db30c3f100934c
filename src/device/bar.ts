import type { Doorbell } from './doorbell.ts';
import type { RegionArea } from './served-device.ts';
import type { MemoryBlock } from './state/index.ts';

/** A base address register. */
export type BarIndex = 0 | 1 | 2 | 3 | 4 | 5;

/** What kind of address space a BAR decodes. */
export interface BarOptions {
  /** `memory` by default. I/O BARs have at most 256 bytes by the PCI specification. */
  readonly space?: 'memory' | 'io';
  /** 32 by default. A 64-bit memory BAR takes the next index as well. */
  readonly bits?: 32 | 64;
  /** Reads have no side effects; false by default. */
  readonly prefetchable?: boolean;
  /**
   * What a client may do with the region: anything else is refused with EINVAL, and the region's flags say so. Both by
   * default. One that may only be read or only be written can't be mapped, and one that is only read has no doorbells.
   */
  readonly access?: BarAccess;
}

/** What a client may do with a BAR. */
export type BarAccess = 'read-write' | 'read' | 'write';

/** Options of a BAR whose accesses the device sees. */
export interface RegisterBarOptions extends BarOptions {
  /** The writes that a client may signal through eventfds; none by default. */
  readonly doorbells?: readonly Doorbell[];
}

/** Options of a BAR over a memory block. */
export interface MemoryBarOptions extends BarOptions {
  /**
   * Whether the client may map the memory into its own address space: all of it, or only these page-aligned areas
   * (ascending, disjoint). Accesses to it are then never seen. False by default.
   */
  readonly mmap?: boolean | readonly RegionArea[];
}

/** What is behind a BAR: bytes in, bytes out. Offsets and lengths have been checked; throws DeviceError. */
export interface BarContent {
  read(offset: number, target: Uint8Array, at: number, length: number): void;
  write(offset: number, source: Uint8Array, at: number, length: number): void;
}

/** A declared BAR, made by PciDevice's `registers`, `callbacks` and `memoryBar`. */
export interface Bar {
  /** Bytes, a power of two. */
  readonly size: number;
  readonly space: 'memory' | 'io';
  readonly bits: 32 | 64;
  readonly prefetchable: boolean;
  /** Absent: both. */
  readonly access?: BarAccess;
  readonly content: BarContent;
  readonly doorbells: readonly Doorbell[];
  /** The block whose memory the client may map, and where; null for everything else. */
  readonly sharing: { readonly block: MemoryBlock; readonly areas: readonly RegionArea[] } | null;
}

/** A device's BARs by index. */
export type Bars = { readonly [index in BarIndex]?: Bar };
