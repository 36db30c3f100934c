import { fstatSync } from 'node:fs';
import type { Native } from '../native/index.ts';
import { type Backing, type FileRegion, requireInsideFile, type StatFile } from './backing.ts';
import { DmaError } from './dma-error.ts';
import { FileBacking } from './file-backing.ts';
import { hex, IOVA_END } from './iova.ts';
import type { KeptFd, KeptFds } from './kept-fds.ts';
import { MappedBacking, type WindowBudget } from './mapped-backing.ts';
import type { Ranged } from './range-index.ts';

/** How the device reaches a map: directly, by file I/O, or by messages to the client. */
export type DmaMode = 'mmap' | 'file' | 'message';

/** What the device may do with a map, and how it gets there. */
export interface DmaMapFlags {
  /** The device may read. */
  readonly read: boolean;
  /** The device may write. */
  readonly write: boolean;
  readonly mode: DmaMode;
}

/** The request DMA_MAP. Nothing has to be aligned (the vfio-user text does not ask for it). */
export interface DmaMap {
  /** First address, 0 to 2^64 - 1. */
  readonly iova: bigint;
  /** Bytes; at least 1. */
  readonly size: bigint;
  /** Where in the fd's file the memory begins. */
  readonly offset: bigint;
  readonly flags: DmaMapFlags;
  /** The file, or null; {@link AddressSpace.map} owns it from the call on. */
  readonly fd: number | null;
}

/** A map that exists. */
export interface Mapping extends Ranged {
  readonly readable: boolean;
  readonly writable: boolean;
  /** Null when only messages reach it, or nothing may. */
  readonly backing: Backing | null;
  /** What another process needs to make the same map; null where {@link backing} is. */
  readonly source: MapSource | null;
}

/** The file behind a map. */
export interface MapSource {
  readonly file: KeptFd;
  /** Where in it the map begins, in bytes. */
  readonly offset: bigint;
  readonly mode: Exclude<DmaMode, 'message'>;
}

/** The operating system as {@link openMapping} needs it. */
export interface MappingSystem {
  readonly native: Native;
  readonly stat: StatFile;
  /** How much may still be mapped. */
  readonly windows: WindowBudget;
  /** The files behind the maps. */
  readonly files: KeptFds;
}

/** fstat with exact numbers. */
export const statFile: StatFile = (fd) => fstatSync(fd, { bigint: true });

/** The first check of a map, which needs nothing but its numbers. Throws DmaError ERR_DMA_MAP_INVALID. */
export function requireValidMap({ iova, size, offset, flags, fd }: DmaMap): void {
  const context = { iova, size, offset };
  const invalid = (problem: string) =>
    new DmaError('ERR_DMA_MAP_INVALID', `the map at ${hex(iova)} ${problem}`, context);
  if (size <= 0n) throw invalid('has no size');
  if (iova < 0n || iova + size > IOVA_END) throw invalid('leaves the 64-bit space');
  if (flags.mode === 'message') return;
  if (fd === null) throw invalid(`asks for ${flags.mode} access and comes without an fd`);
  if (offset < 0n || offset + size > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('lies beyond any file');
}

/** Opens what is behind a valid map, owning its fd: it is closed as soon as nothing needs it, also on a throw. */
export function openMapping(system: MappingSystem, map: DmaMap): Mapping {
  const { iova, size, flags } = map;
  return {
    start: iova,
    end: iova + size,
    readable: flags.read,
    writable: flags.write,
    ...openBacking(system, map),
  };
}

/** Lets go of what is behind a map. */
export function closeMapping({ backing, source }: Mapping): void {
  backing?.close();
  source?.file.release();
}

/** The map as another process makes it again; the fd stays ours. */
export function describeMapping({ start, end, readable, writable, source }: Mapping): DmaMap {
  return {
    iova: start,
    size: end - start,
    offset: source?.offset ?? 0n,
    flags: { read: readable, write: writable, mode: source?.mode ?? 'message' },
    fd: source?.file.fd ?? null,
  };
}

/** How many bytes of a map follow `iova`. Beyond 2^53 it is rounded, but then no transfer is as long as that. */
export function roomAt(mapping: Mapping, iova: bigint): number {
  return Number(mapping.end - iova);
}

/** There is no map with exactly this address and size. */
export function noSuchMap(iova: bigint, size: bigint): DmaError {
  return new DmaError('ERR_DMA_UNMAP_UNKNOWN', `no map has address ${hex(iova)} and ${size} bytes`, {
    iova,
    size,
  });
}

const NOTHING_BEHIND = { backing: null, source: null } as const;

function openBacking(system: MappingSystem, map: DmaMap): Pick<Mapping, 'backing' | 'source'> {
  const { native, stat, windows, files } = system;
  const { fd, flags } = map;
  if (fd === null) return NOTHING_BEHIND;
  if (flags.mode === 'message' || !(flags.read || flags.write)) {
    native.close(fd);
    return NOTHING_BEHIND;
  }
  const place = { offset: Number(map.offset), size: Number(map.size) };
  let kept: KeptFd | null = null;
  try {
    requireInsideFile({ fd, ...place }, stat);
    kept = files.keep(fd, flags.write);
    const region: FileRegion = { fd: kept.fd, ...place };
    const backing =
      flags.mode === 'mmap'
        ? MappedBacking.open(native, region, flags, stat, windows)
        : FileBacking.open(native, region, stat);
    return { backing, source: { file: kept, offset: map.offset, mode: flags.mode } };
  } catch (error) {
    if (kept === null) native.close(fd);
    else kept.release();
    throw error;
  }
}
