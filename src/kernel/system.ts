import { constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { Errno } from '../errors/index.ts';
import { loadNative, type Native } from '../native/index.ts';

/**
 * The system calls that drive a kernel device, one function each, no policy: a negative number is a negated errno. An
 * interface, so that a fake can stand for drivers and kernels that are not at hand.
 */
export type KernelSystem = Pick<
  Native,
  | 'ioctl'
  | 'ioctlLater'
  | 'readLater'
  | 'writeLater'
  | 'pread'
  | 'pwrite'
  | 'poll'
  | 'close'
  | 'dup'
  | 'map'
  | 'unmap'
  | 'guardMappings'
  | 'mapForDma'
  | 'unmapForDma'
  | 'eventfd'
  | 'eventfdRead'
  | 'watchStart'
  | 'watchClose'
> & {
  /** open(2) for reading and writing, with CLOEXEC. */
  open(path: string): number;
  /** read(2) at the file's own position. */
  readNow(fd: number, into: Uint8Array): number;
  /** write(2). */
  writeNow(fd: number, from: Uint8Array): number;
  /** Which file a descriptor is of: the same for all of one file; null for none. */
  identify(fd: number): string | null;
};

let system: KernelSystem | null = null;

/** The kernel of this machine; one object for all, since it goes by that which devices are opened by one process. */
export function kernelSystem(): KernelSystem {
  system ??= { ...loadNative(), open: openFile, readNow, writeNow, identify };
  return system;
}

function identify(fd: number): string | null {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (error instanceof Error && 'errno' in error) return null;
    throw error;
  }
}

const openFile = (path: string): number => attempt(() => openSync(path, constants.O_RDWR));
/** Null: where the file is. Any number would be a position, which files of sessions do not have (ESPIPE). */
const readNow = (fd: number, into: Uint8Array): number =>
  attempt(() => readSync(fd, into, 0, into.length, null));
const writeNow = (fd: number, from: Uint8Array): number =>
  attempt(() => writeSync(fd, from, 0, from.length, null));

/** What Node throws, as the errno that it is made of: the only part that is right for all of them (ENOMSG). */
function attempt(call: () => number): number {
  try {
    return call();
  } catch (error) {
    const errno = error instanceof Error && 'errno' in error ? error.errno : undefined;
    return typeof errno === 'number' && errno < 0 ? errno : -Errno.EIO;
  }
}
