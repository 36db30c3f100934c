import { Errno } from '../errors/index.ts';
import { StateError } from './state-error.ts';

/** Which optional states a device has (struct vfio_device_feature_migration, linux/vfio.h). Bits of one number. */
export const MigrationFlag = {
  /** STOP, RUNNING, STOP_COPY and RESUMING. Without it there is no migration. */
  STOP_COPY: 1,
  /** RUNNING_P2P, and PRE_COPY_P2P together with PRE_COPY. */
  P2P: 2,
  /** PRE_COPY, and PRE_COPY_P2P together with P2P. */
  PRE_COPY: 4,
} as const;

const KNOWN_FLAGS = MigrationFlag.STOP_COPY | MigrationFlag.P2P | MigrationFlag.PRE_COPY;

/**
 * Refuses flags with which migration can't be used: those without STOP_COPY, and those with a bit that this version
 * does not know ("other combinations of flags have behavior to be defined in the future", linux/vfio.h).
 * Takes a bigint too, since the flags are 64 bits wide on the wire. Throws StateError EINVAL; returns the flags.
 */
export function requireUsableFlags(flags: number | bigint): number {
  if (typeof flags === 'number' && !Number.isSafeInteger(flags))
    throw flagsError(flags, 'that is no set of bits');
  const wide = BigInt(flags);
  if ((wide & ~BigInt(KNOWN_FLAGS)) !== 0n) {
    throw flagsError(wide, 'they contain bits that this version does not know');
  }
  if ((wide & BigInt(MigrationFlag.STOP_COPY)) === 0n) throw flagsError(wide, 'STOP_COPY is missing');
  return Number(wide);
}

function flagsError(flags: number | bigint, reason: string): StateError {
  const text = `0x${flags.toString(16)}`;
  return new StateError('ERR_MIGRATION_FLAGS', `migration flags ${text} can't be used: ${reason}`, {
    errno: Errno.EINVAL,
    context: { flags: text },
  });
}
