import { type ClaimStatus, describeClaim, type MovableDevice } from '../../client/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';
import { claimName } from '../../protocol/index.ts';

/** The device belongs to a migration, and nobody has said that it is to be taken from it. */
class ClaimedDeviceError extends FerryError {
  constructor(path: string, status: ClaimStatus) {
    super('ERR_CLAIMED', describeClaim(status), {
      errno: Errno.EBUSY,
      context: {
        path,
        claim: claimName(status.id),
        epoch: status.epoch,
        retired: status.retired,
      },
    });
  }
}

/**
 * Makes sure that no migration has claimed the device, or with `force` that none has any more: its claim is ended, and
 * whoever acted for it is too late. Servers without claims are left alone. @throws ClaimedDeviceError
 */
export async function takeFromMigration(client: MovableDevice, force: boolean): Promise<void> {
  const status = await client.claimStatus();
  if (status === null) return;
  if (force) await client.forceRelease(status.epoch + 1n);
  else if (status.claimed) throw new ClaimedDeviceError(client.path, status);
}
