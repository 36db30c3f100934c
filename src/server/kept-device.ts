import type { ServedDevice } from '../device/index.ts';
import { RegionIndex } from '../protocol/index.ts';
import { MigrationState } from '../states/index.ts';
import type { HoldKeeper } from './hold-keeper.ts';
import type { MigrationSession } from './migration-session.ts';
import type { OrphanedWrites } from './orphaned-writes.ts';
import type { KeptDevice } from './reconnection.ts';

/** What a {@link keptDevice} stands on. */
export interface KeptDeviceParts<Party extends object> {
  readonly device: ServedDevice;
  readonly migration: MigrationSession<Party>;
  readonly holds: HoldKeeper;
  readonly orphans: OrphanedWrites;
  readonly setState: (target: number, by: Party) => void | Promise<void>;
  readonly reset: (by: Party) => void | Promise<void>;
}

/** A served device, as {@link Reconnection} handles it. */
export function keptDevice<Party extends object>(parts: KeptDeviceParts<Party>): KeptDevice<Party> {
  const { device, migration, holds, orphans, setState } = parts;
  return {
    configuration: () => configurationOf(device),
    state: () => (migration.machine === null ? null : migration.state),
    stop: (by) => setState(MigrationState.STOP, by),
    run: (by) => setState(MigrationState.RUNNING, by),
    require: (operation, by) => migration.requireMay(operation, by),
    reset: (by) => {
      orphans.discard();
      return parts.reset(by);
    },
    configure: (offset, bytes) => device.regions[RegionIndex.CONFIG]?.write(offset, bytes, 0, bytes.length),
    beginHold: () => holds.begin(),
    endHold: () => holds.end(),
    raiseAgain: () => device.interrupts.raiseAgain(),
  };
}

function configurationOf(device: ServedDevice): Uint8Array {
  const region = device.regions[RegionIndex.CONFIG];
  const bytes = new Uint8Array(region?.size ?? 0);
  region?.read(0, bytes, 0, bytes.length);
  return bytes;
}
