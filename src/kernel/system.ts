import { constants, openSync } from 'node:fs';
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
};

/** The kernel of this machine. */
export function kernelSystem(native: Native = loadNative()): KernelSystem {
  return { ...native, open: openFile };
}

function openFile(path: string): number {
  try {
    return openSync(path, constants.O_RDWR);
  } catch (error) {
    const errno = error instanceof Error && 'errno' in error ? error.errno : undefined;
    return typeof errno === 'number' && errno < 0 ? errno : -Errno.EIO;
  }
}
