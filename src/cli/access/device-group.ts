import type { MovableDevice } from '../../client/index.ts';
import { type ClientEndOptions, deviceEnd, type MigrationEnd } from '../../engine/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { lastingName, openDevice } from './device-access.ts';

/** Devices that are moved as one. */
export interface DeviceGroup {
  readonly clients: readonly MovableDevice[];
  /** As ends of one migration, named by their whole paths: another command may be run in another folder. */
  ends(): Promise<readonly MigrationEnd[]>;
  /** Idempotent. */
  close(): void;
}

/** Reaches all devices; none of them when one can't be reached. */
export async function connectGroup(
  paths: readonly string[],
  timeoutMs?: number,
  options: ClientEndOptions = {},
): Promise<DeviceGroup> {
  const clients: MovableDevice[] = [];
  const close = (): void => {
    for (const client of clients) client.close();
  };
  try {
    for (const path of paths) clients.push(await openDevice(lastingName(path), timeoutMs));
    const names = clients.map(({ path }) => path);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new UsageError(`${twice} was named twice`);
  } catch (error) {
    close();
    throw error;
  }
  return {
    clients,
    close,
    ends: () => Promise.all(clients.map((client) => deviceEnd(client, null, options))),
  };
}
