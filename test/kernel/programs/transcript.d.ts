import type { KernelDevice } from '../../../src/kernel/index.ts';
import type { Native } from '../../../src/native/index.ts';

/** Tries everything, and returns what it printed. */
export function transcript(
  a: KernelDevice,
  b: KernelDevice,
  calls: Pick<Native, 'dup' | 'close' | 'poll' | 'readLater' | 'writeLater'>,
): Promise<string[]>;
