import { GuestMemoryError } from './guest-memory-error.ts';

/** The page in which guest memory is watched and sent, in bytes. */
export const PAGE_SIZE = 4096;

/** The most bytes of a region: 4 TiB, which keeps page numbers far below 2^31. */
const MAX_REGION = 2 ** 42;
const ADDRESS_SPACE = 1n << 64n;

/** A region of guest memory, mapped into this process. GuestMemory of the client makes them. */
export interface MemoryRegion {
  /** Where the guest, and so its devices, have it. A multiple of {@link PAGE_SIZE}. */
  readonly iova: bigint;
  /** Its content, shared with whoever else maps it. A multiple of {@link PAGE_SIZE} bytes long. */
  readonly bytes: Uint8Array;
}

/** Checks that regions are whole pages and do not overlap. @throws GuestMemoryError ERR_GUEST_MEMORY_REGIONS */
export function requireRegions(regions: readonly MemoryRegion[]): void {
  for (const region of regions) requireRegion(region);
  const sorted = [...regions].sort((a, b) => (a.iova < b.iova ? -1 : 1));
  sorted.forEach((region, i) => {
    const next = sorted[i + 1];
    if (next !== undefined && endOf(region) > next.iova) throw unfit(next, 'overlaps another one');
  });
}

/** The address behind the last byte of a region. */
export function endOf({ iova, bytes }: MemoryRegion): bigint {
  return iova + BigInt(bytes.length);
}

function requireRegion(region: MemoryRegion): void {
  const { iova, bytes } = region;
  if (bytes.length === 0 || bytes.length % PAGE_SIZE !== 0)
    throw unfit(region, 'does not consist of whole pages');
  if (iova < 0n || iova % BigInt(PAGE_SIZE) !== 0n) throw unfit(region, 'does not begin with a page');
  if (bytes.length > MAX_REGION || endOf(region) > ADDRESS_SPACE) throw unfit(region, 'is too big');
}

function unfit({ iova, bytes }: MemoryRegion, why: string): GuestMemoryError {
  const message = `the region of guest memory at 0x${iova.toString(16)} ${why} (${PAGE_SIZE} bytes each)`;
  return new GuestMemoryError('ERR_GUEST_MEMORY_REGIONS', message, { iova, size: bytes.length });
}
