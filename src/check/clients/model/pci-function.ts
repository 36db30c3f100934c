import { RegionIndex } from '../../../protocol/index.ts';

/** Sizes of the regions of the model, in bytes; a region that is not named has none. */
export const REGION_SIZES: ReadonlyMap<number, number> = new Map([
  [RegionIndex.BAR0, 8192],
  [RegionIndex.CONFIG, 256],
]);

/** How many regions and interrupt indices the model names: as many as vfio-pci. */
export const REGION_COUNT = 9;

/** Vectors and flags of the interrupt indices: INTx (eventfd, maskable, masked by itself), MSI, MSI-X, ERR, REQ. */
export const IRQS: readonly { readonly count: number; readonly flags: number }[] = [
  { count: 1, flags: 7 },
  { count: 0, flags: 1 },
  { count: 2, flags: 1 },
  { count: 1, flags: 1 },
  { count: 0, flags: 1 },
];

/** Where the guest's writes to configuration space go; all other bits stay (PCI Local Bus 3.0, 6.1). */
const WRITABLE: readonly (readonly [at: number, mask: readonly number[]])[] = [
  [0x04, [0x47, 0x05]],
  [0x10, [0x00, 0xe0, 0xff, 0xff]],
  [0x3c, [0xff]],
  [0x42, [0x00, 0xc0]],
];

const MSIX_CAPABILITY = [0x11, 0, 1, 0, 0, 0x10, 0, 0, 0, 0x18, 0, 0];

/** A small PCI function that does nothing: 8 KiB of memory with an MSI-X table in it, and INTA. */
export class PciFunction {
  readonly #regions = new Map<number, Uint8Array>();

  constructor() {
    for (const [index, size] of REGION_SIZES) this.#regions.set(index, new Uint8Array(size));
    const config = this.#regions.get(RegionIndex.CONFIG);
    config?.set([0x34, 0x12, 0x43, 0x46, 0, 0, 0x10, 0, 0x01, 0, 0xff, 0], 0);
    config?.set([0x34, 0x12, 0x43, 0x46], 0x2c);
    config?.set([0x40], 0x34);
    config?.set([0, 1], 0x3c);
    config?.set(MSIX_CAPABILITY, 0x40);
  }

  /** The bytes of a region; null when they are not all inside of it. */
  read(index: number, offset: bigint, count: number): Uint8Array | null {
    const region = this.#inside(index, offset, count);
    return region === null ? null : region.slice(Number(offset), Number(offset) + count);
  }

  /** Writes to a region; false when it is not all inside. */
  write(index: number, offset: bigint, data: Uint8Array): boolean {
    const region = this.#inside(index, offset, data.length);
    if (region === null) return false;
    for (const [i, byte] of data.entries()) {
      const at = Number(offset) + i;
      const mask = index === RegionIndex.CONFIG ? configMask(at) : 0xff;
      region[at] = ((region[at] ?? 0) & ~mask) | (byte & mask);
    }
    return true;
  }

  #inside(index: number, offset: bigint, count: number): Uint8Array | null {
    const region = this.#regions.get(index);
    return region === undefined || offset + BigInt(count) > BigInt(region.length) ? null : region;
  }
}

function configMask(at: number): number {
  for (const [start, mask] of WRITABLE) {
    const found = mask[at - start];
    if (found !== undefined) return found;
  }
  return 0;
}
