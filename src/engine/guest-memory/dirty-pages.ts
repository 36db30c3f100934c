import { DirtyBitmap } from '../../memory/index.ts';
import { endOf, type MemoryRegion, PAGE_SIZE } from './memory-region.ts';

/** Where it is said what was written. What lies outside of the regions is not there to be moved, and is ignored. */
export interface DirtyMarks {
  /** By the guest's addresses, in bytes. */
  range(iova: bigint, length: bigint): void;
  /** By the number of the region and bytes in it; cheaper when there are many. */
  within(region: number, offset: number, length: number): void;
}

/** Which pages of guest memory are still to be sent: one bit for each. */
export class DirtyPages implements DirtyMarks {
  readonly #regions: readonly MemoryRegion[];
  /** In the order of the regions. */
  readonly bitmaps: readonly DirtyBitmap[];

  constructor(regions: readonly MemoryRegion[]) {
    this.#regions = regions;
    this.bitmaps = regions.map(({ bytes }) => new DirtyBitmap(bytes.length / PAGE_SIZE));
  }

  /** Bytes of the pages that are dirty. */
  get bytes(): bigint {
    return BigInt(this.bitmaps.reduce((sum, { count }) => sum + count, 0)) * BigInt(PAGE_SIZE);
  }

  range(iova: bigint, length: bigint): void {
    const end = iova + length;
    this.#regions.forEach((region, i) => {
      const from = iova > region.iova ? iova : region.iova;
      const to = end < endOf(region) ? end : endOf(region);
      if (from < to) this.within(i, Number(from - region.iova), Number(to - from));
    });
  }

  within(region: number, offset: number, length: number): void {
    const bitmap = this.bitmaps[region];
    if (bitmap === undefined || length <= 0) return;
    const first = Math.max(0, Math.floor(offset / PAGE_SIZE));
    const end = Math.min(bitmap.length, Math.ceil((offset + length) / PAGE_SIZE));
    if (first < end) bitmap.setRange(first, end);
  }

  /** Everything is to be sent. */
  all(): void {
    for (const bitmap of this.bitmaps) bitmap.setRange(0, bitmap.length);
  }
}
