import type { BigIntStats } from 'node:fs';
import { Errno, errnoName } from '../errors/index.ts';
import { DmaError } from './dma-error.ts';

/** Memory behind a map that this process reaches by itself. Offsets are from the start of the map, in bytes. */
export interface Backing {
  /** The memory itself, without a copy; null when it does not lie in one piece of this process. */
  view(offset: number, length: number): Uint8Array | null;
  /** Fills `target` from `targetOffset` with `length` bytes. */
  read(offset: number, target: Uint8Array, targetOffset: number, length: number): void;
  /** Stores `length` bytes of `data` from `dataOffset`. */
  write(offset: number, data: Uint8Array, dataOffset: number, length: number): void;
  /** Lets go of the memory and closes what is open. Nothing may be used afterwards. */
  close(): void;
}

/** Where in which file a map lies. */
export interface FileRegion {
  readonly fd: number;
  /** Byte in the file. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** The facts about a file that decide whether a region of it is there, and which file it is. */
export type StatFile = (
  fd: number,
) => Pick<BigIntStats, 'size' | 'isFile'> & Partial<Pick<BigIntStats, 'dev' | 'ino'>>;

/**
 * Refuses a region that ends beyond its file: touching it would fail or kill the process. Only regular files (a
 * memfd is one) have a size to compare with; a device node decides by itself.
 */
export function requireInsideFile(region: FileRegion, stat: StatFile): void {
  const facts = statOf(region.fd, stat);
  const end = region.offset + region.size;
  if (!facts.isFile() || BigInt(end) <= facts.size) return;
  throw new DmaError('ERR_DMA_MAP_FD', `the region ends at byte ${end} of a file of ${facts.size} bytes`, {
    end,
    fileSize: facts.size,
  });
}

/** The error for an fd that the kernel does not map or access, with what it said. */
export function fdError(what: string, errno: number): DmaError {
  const reported = errno === Errno.ENODEV ? Errno.EINVAL : errno;
  return new DmaError(
    'ERR_DMA_MAP_FD',
    `${what}: ${errnoName(errno)}`,
    { reason: errnoName(errno) },
    reported,
  );
}

function statOf(fd: number, stat: StatFile): ReturnType<StatFile> {
  try {
    return stat(fd);
  } catch {
    throw fdError(`fd ${fd} is not open`, Errno.EBADF);
  }
}
