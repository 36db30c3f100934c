import { fstatSync } from 'node:fs';
import { check, type Native } from '../native/index.ts';
import { ClientError } from './client-error.ts';

/**
 * A touch beyond the end of a file kills the process. So the file is sealed against shrinking and must have `needed`
 * bytes; what can't be sealed is guarded. Throws ClientError ERR_DEVICE_LACKS.
 */
export function preventFaults(native: Native, fd: number, needed: bigint, what: string): void {
  if (native.sealShrink(fd) < 0) {
    check(native.guardMappings(), 'guardMappings');
    return;
  }
  const size = BigInt(fstatSync(fd).size);
  if (needed > size)
    throw new ClientError('ERR_DEVICE_LACKS', `the file of ${what} is too short`, { needed, size });
}
