import type { Native } from '../native/index.ts';
import type { AddressSpace } from './address-space.ts';
import type { StatFile } from './backing.ts';
import { type DmaMap, statFile } from './mapping.ts';

/**
 * Makes `space` have these maps and no others. Those that are there already stay as they are, because to map much memory
 * takes long; the same memory is the same range of the same file. All fds are the space's from now on, those of maps that
 * stay are closed, and when this throws all are. An observer that takes its time is not waited for: a device behind one is
 * not passed on. Throws DmaError.
 */
export function adoptMaps(
  native: Pick<Native, 'close'>,
  space: AddressSpace,
  maps: readonly DmaMap[],
  stat: StatFile = statFile,
): void {
  const there = new Map(space.describeMaps().map((map) => [map.iova, map]));
  const same = maps.map((map) => isSame(there.get(map.iova), map, stat));
  const staying = new Set(maps.filter((_, i) => same[i]).map(({ iova }) => iova));
  for (const { iova, size } of there.values()) if (!staying.has(iova)) void space.unmap(iova, size);
  for (const [i, map] of maps.entries()) {
    if (same[i] !== true) mapOrCloseRest(native, space, maps, i);
    else if (map.fd !== null) native.close(map.fd);
  }
}

function mapOrCloseRest(
  native: Pick<Native, 'close'>,
  space: AddressSpace,
  maps: readonly DmaMap[],
  at: number,
): void {
  const map = maps[at];
  if (map === undefined) return;
  try {
    void space.map(map);
  } catch (error) {
    for (const { fd } of maps.slice(at + 1)) if (fd !== null) native.close(fd);
    throw error;
  }
}

function isSame(there: DmaMap | undefined, map: DmaMap, stat: StatFile): boolean {
  if (there === undefined || there.size !== map.size || there.offset !== map.offset) return false;
  const { read, write, mode } = there.flags;
  if (read !== map.flags.read || write !== map.flags.write || mode !== map.flags.mode) return false;
  return there.fd === null || map.fd === null ? there.fd === map.fd : isSameFile(there.fd, map.fd, stat);
}

/** Files without a number of their own, such as devices, are never the same: they are mapped anew. */
function isSameFile(one: number, other: number, stat: StatFile): boolean {
  const [a, b] = [stat(one), stat(other)];
  return a.isFile() && b.isFile() && a.ino !== undefined && a.dev === b.dev && a.ino === b.ino;
}
