import type { Region } from '../../device/index.ts';
import { Errno } from '../../errors/index.ts';
import { ConfigurationMode, RegionIndex } from '../../protocol/index.ts';
import { isRunning, MigrationState, stateName } from '../../states/index.ts';
import { accessVerdict } from '../access-rules.ts';
import type { ServedConnection } from '../served-connection.ts';
import { heldTooLong, ServerError } from '../server-error.ts';

/** The region with this index. @throws ServerError EINVAL when there is none (linux vfio_pci_core.c) */
export function regionAt(served: ServedConnection, index: number): Region {
  const region = served.server.device.regions[index];
  if (region === undefined)
    throw new ServerError('ERR_BAD_INDEX', `there is no region ${index}`, { region: index });
  return region;
}

/** Checks that an access lies inside the region and in what may be asked for at once. Allocates nothing. */
export function requireInside(served: ServedConnection, region: Region, offset: number, count: number): void {
  if (count > served.maxTransfer) {
    throw new ServerError('ERR_TOO_LONG', `${count} bytes are more than max_data_xfer_size`, { count });
  }
  // An offset of -1 stands for one beyond 2^53, which no region reaches.
  if (offset < 0 || offset > region.size || count > region.size - offset) {
    const context = { region: region.index, offset, count, size: region.size };
    throw new ServerError('ERR_BAD_RANGE', `region ${region.index} has ${region.size} bytes`, context);
  }
}

/** Whether the access may go on now (true) or waits for the end of a hold (false). @throws ServerError EINVAL, EBUSY */
export function mayAccess(
  served: ServedConnection,
  region: Region,
  write: boolean,
  posted: boolean,
): boolean {
  const { hold, migration } = served.server;
  // The usual case, which the rules below serve as well, but not for nothing.
  if (served.role === 'main' && !hold.active && isRunning(migration.state)) return true;
  return mayAccessByRule(served, region, write, posted);
}

function mayAccessByRule(served: ServedConnection, region: Region, write: boolean, posted: boolean): boolean {
  const { server } = served;
  const config = region.index === RegionIndex.CONFIG;
  if (served.role === 'control')
    return requireInspection(config && (!write || mayConfigure(served)), region.index);
  const { hold, migration } = server;
  const verdict = accessVerdict({
    state: migration.state,
    held: hold.active,
    expired: hold.expired,
    stateElsewhere: hold.stateElsewhere || server.claims.retired,
    config,
    write,
  });
  if (verdict === 'serve') return true;
  if (verdict === 'park') return false;
  if (verdict === 'busy') {
    if (posted) hold.droppedWrites += 1;
    throw heldTooLong();
  }
  throw new ServerError(
    'ERR_WRONG_STATE',
    `region ${region.index} can't be accessed in ${stateName(migration.state)}`,
    {
      region: region.index,
      state: stateName(migration.state),
    },
  );
}

/** Whoever drives a migration sets the configuration space up where that does not travel in the device's state. */
function mayConfigure(served: ServedConnection): boolean {
  const { migration, device } = served.server;
  const { RESUMING, STOP } = MigrationState;
  const travelsBeside =
    (device.migration.configuration ?? ConfigurationMode.IN_STATE) !== ConfigurationMode.IN_STATE;
  return (
    travelsBeside && migration.owner === served && (migration.state === RESUMING || migration.state === STOP)
  );
}

/** The control socket reads the configuration space, for inspection, and nothing else. */
function requireInspection(allowed: boolean, region: number): true {
  if (allowed) return true;
  throw new ServerError(
    'ERR_WRONG_SOCKET',
    'the control socket only reads the configuration space',
    { region },
    {
      errno: Errno.EPERM,
    },
  );
}
