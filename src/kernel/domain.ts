import type { DmaSpace } from './dma-space.ts';
import type { KernelFile } from './kernel-file.ts';
import type { DevicePlace } from './place.ts';
import type { Type1Container } from './type1-container.ts';

/** How a device is reached: by its group and a container, or by its own file and iommufd. */
export type Way = 'group' | 'cdev';

/** A device in a domain. */
export interface Member {
  readonly device: KernelFile;
  /** What the kernel said of its group before it was given a container (GroupFlag); null with iommufd. */
  readonly groupFlags: number | null;
  /** Closes what was opened for it. Called once. */
  leave(): void;
}

/**
 * An address space with the devices of this process that are in it: what is mapped for one of them all of them reach. The
 * kernel has the devices of one IOMMU group in one; those of others may be with them.
 */
export interface Domain {
  readonly way: Way;
  readonly container: Type1Container | null;
  readonly space: DmaSpace;
  /** Nothing is in it any more. */
  readonly empty: boolean;
  /** Opens a device in it. @throws KernelError; then nothing was opened */
  enter(place: DevicePlace): Member;
  /** Closes an empty one. */
  close(): void;
}
