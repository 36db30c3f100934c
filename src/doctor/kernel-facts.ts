import { stateName } from '../states/index.ts';
import type { Caller, FileFacts } from './file-facts.ts';
import type { ProcessFacts } from './process-facts.ts';
import type { VariantDriver } from './variant-drivers.ts';

/** What is known of the machine's kernel and its VFIO. */
export interface MachineFacts {
  /** Version of the running kernel; null where /proc does not tell. */
  readonly release: string | null;
  /** The settings that the kernel was built with, `y`, `m`, or absent; null: they can't be read. */
  readonly settings: ReadonlyMap<string, string> | null;
  readonly commandLine: string;
  /** IOMMUs in use (/sys/class/iommu). */
  readonly iommus: readonly string[];
  /** How many IOMMU groups there are. */
  readonly groupCount: number;
  /** The ACPI tables by which the firmware announces an IOMMU: DMAR, IVRS. */
  readonly tables: readonly string[];
  /** Modules that are loaded or built in, of those that VFIO consists of. */
  readonly loaded: readonly string[];
  /** Modules that can be loaded; null: the folder of modules can't be read. */
  readonly loadable: readonly string[] | null;
  /** /dev/vfio/vfio */
  readonly container: FileFacts;
  /** /dev/iommu */
  readonly iommufd: FileFacts;
  /** PCI devices that a VFIO driver has, or that a driver of this kernel could make movable. */
  readonly candidates: readonly PciCandidate[];
  /** Devices whose driver makes mediated devices. */
  readonly mdevParents: readonly string[];
  readonly caller: Caller;
}

/** A PCI device that VFIO has something to do with. */
export interface PciCandidate {
  readonly address: string;
  readonly driver: string | null;
  readonly variant: VariantDriver | null;
}

/** A device of an IOMMU group. */
export interface GroupMember {
  readonly name: string;
  readonly driver: string | null;
  /** It is a bridge, which stays with the host. */
  readonly bridge: boolean;
}

/** An IOMMU group, and who keeps it from being used. */
export interface GroupFacts {
  readonly number: number;
  readonly members: readonly GroupMember[];
  /** It has no IOMMU behind it (vfio's noiommu mode). */
  readonly noIommu: boolean;
  /** /dev/vfio/<number> */
  readonly node: FileFacts;
}

/** What is known of a device that the kernel has. */
export interface KernelDeviceFacts {
  readonly kind: 'pci' | 'mdev';
  /** Its PCI address, or the UUID of its mdev. */
  readonly name: string;
  readonly exists: boolean;
  readonly machine: MachineFacts;
  /** Vendor and device id; null for an mdev. */
  readonly id: { readonly vendor: number; readonly device: number; readonly classCode: number } | null;
  /** The driver that is bound; null: none. */
  readonly driver: string | null;
  /** It is a virtual function: the address of its physical one; null: it is none. */
  readonly physicalFunction: string | null;
  /** How many virtual functions it could have; 0: it has no SR-IOV. */
  readonly virtualFunctions: number;
  /** The driver that would offer migration, from what is known of drivers; null: there is none. */
  readonly variant: VariantDriver | null;
  /** The VFIO drivers that this kernel names for the device (modules.alias), the most special first. */
  readonly matching: readonly string[];
  /** For an mdev: the device that it is a part of. */
  readonly parent: string | null;
  readonly group: GroupFacts | null;
  /** /dev/vfio/devices/vfio<n>; null: the kernel makes none. */
  readonly deviceNode: FileFacts | null;
  /** What debugfs shows of its migration state; null: it shows nothing. */
  readonly migrationState: string | null;
  /** Whether debugfs could show one: it is mounted, may be read, and the kernel has VFIO's part of it. */
  readonly debugfs: boolean;
  /** Who has the device open; empty also when nobody may be looked into. */
  readonly users: readonly ProcessFacts[];
  /** What came of opening it. */
  readonly opening: Opening;
}

/** What came of opening a device for a moment. */
export type Opening =
  | { readonly kind: 'none'; readonly why: string }
  | { readonly kind: 'refused'; readonly errno: number; readonly message: string }
  | {
      readonly kind: 'opened';
      /** MigrationFlag bits; null: no migration is offered. */
      readonly flags: bigint | null;
      readonly state: number | null;
      readonly logsDma: boolean;
      /** What can't be done with it, for people. */
      readonly limits: readonly string[];
    };

/** Whether the device's driver was asked for its migration, and so what it offers is known. */
export function offersKnown({ opening, migrationState }: KernelDeviceFacts): boolean {
  return opening.kind === 'opened' || migrationState !== null;
}

/** The name of the migration state, from wherever it is known. */
export function stateOf({ opening, migrationState }: KernelDeviceFacts): string | null {
  return opening.kind === 'opened' && opening.state !== null ? stateName(opening.state) : migrationState;
}

/** The name of a driver or module with underscores, as modules are named. */
export function moduleName(driver: string): string {
  return driver.replaceAll('-', '_');
}

/** Whether a driver gives devices to VFIO: the generic one, a variant, or one for mediated devices. */
export function isVfioDriver(driver: string): boolean {
  const name = moduleName(driver);
  return name === 'vfio_pci' || name === 'mtty' || name.endsWith('_vfio_pci') || name.startsWith('vfio_');
}
