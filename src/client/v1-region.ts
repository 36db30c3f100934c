import { RefusalError } from '../errors/index.ts';
import { PCI_NUM_REGIONS, V1_REGION_SUBTYPE, V1_REGION_TYPE, V1MigrationInfo } from '../protocol/index.ts';
import type { RegionInfo } from './descriptions.ts';
import type { MovableDevice } from './movable-device.ts';

/** A server that claims more regions is not asked for the rest; QEMU draws the line at 100. */
const MAX_REGIONS = 256;

/** Whether a region is one through which a device is migrated by v1. */
export function isV1Region({ kind, size, readable, writable }: RegionInfo): boolean {
  const typed = kind?.type === V1_REGION_TYPE && kind.subtype === V1_REGION_SUBTYPE;
  return typed && readable && writable && size > BigInt(V1MigrationInfo.size);
}

/** The migration region of a device; null when it has none. It lies behind those that the bus gives a meaning. */
export async function findV1Region(client: MovableDevice): Promise<RegionInfo | null> {
  const { pci, regionCount } = await client.info();
  const count = Math.min(regionCount, MAX_REGIONS);
  for (let index = pci ? PCI_NUM_REGIONS : 0; index < count; index += 1) {
    const region = await ask(client, index);
    if (region !== null && isV1Region(region)) return region;
  }
  return null;
}

/** A region that the server does not want to tell of is none. */
async function ask(client: MovableDevice, index: number): Promise<RegionInfo | null> {
  try {
    return await client.regionInfo(index);
  } catch (error) {
    if (error instanceof RefusalError) return null;
    throw error;
  }
}
