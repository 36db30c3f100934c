import type { DmaMap } from '../memory/index.ts';
import type { ValueOfStruct } from '../protocol/index.ts';
import { FdList, type FdTable } from './fd-table.ts';
import { MAX_FDS, MapEntry, MapsHead } from './layout.ts';
import { Packer, Unpacker } from './pack.ts';
import { MODES, modeOf } from './record-numbers.ts';

const READ = 1;
const WRITE = 2;
/** The most maps that are told of early; the rest comes with the record. */
const MOST = 4096;

/** A map as it is told, its file being named by its place among `fds`. */
export function mapEntry(
  { iova, size, offset, flags, fd }: DmaMap,
  fds: FdList,
): ValueOfStruct<typeof MapEntry> {
  return {
    ...{ iova, size, offset, fd: fds.place(fd) },
    flags: (flags.read ? READ : 0) | (flags.write ? WRITE : 0),
    mode: MODES.indexOf(flags.mode),
  };
}

/** The map that an entry tells of, with its own fd. Throws HandoverError. */
export function mapOf(entry: ValueOfStruct<typeof MapEntry>, fds: FdTable): DmaMap {
  const { iova, size, offset, fd, flags, mode } = entry;
  return {
    ...{ iova, size, offset, fd: fds.takeOptional(fd) },
    flags: { read: (flags & READ) !== 0, write: (flags & WRITE) !== 0, mode: modeOf(mode) },
  };
}

/** The maps that take the longest to make, as one message, and the fds that go with it. */
export function encodeMaps(maps: readonly DmaMap[]): {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
} {
  const pack = new Packer();
  const fds = new FdList();
  const largest = maps
    .filter(({ fd, flags }) => fd !== null && flags.mode === 'mmap')
    .toSorted((a, b) => Number(b.size - a.size))
    .slice(0, MOST);
  const files = new Set(largest.map(({ fd }) => fd).slice(0, MAX_FDS));
  const told = largest.filter(({ fd }) => files.has(fd));
  pack.struct(MapsHead, { maps: told.length });
  for (const map of told) pack.struct(MapEntry, mapEntry(map, fds));
  return { bytes: pack.finish(), fds: fds.fds };
}

/** The maps of such a message. Throws HandoverError, and has closed the fds then. */
export function decodeMaps(bytes: Uint8Array, fds: FdTable): DmaMap[] {
  try {
    const from = new Unpacker(bytes);
    const { maps } = from.struct(MapsHead);
    const entries = from.structs(MapEntry, maps);
    from.end();
    const decoded = entries.map((entry) => mapOf(entry, fds));
    fds.end();
    return decoded;
  } catch (error) {
    fds.closeAll();
    throw error;
  }
}
