import { type MovableDevice, V1Device } from '../../client/index.ts';
import type { MigrationEnd } from '../migration-end.ts';
import { V1End } from '../v1/v1-end.ts';
import { type ClientEndOptions, clientEnd } from './client-end.ts';

/**
 * The device of a client as one end of a migration, by v2 if the server speaks it, and otherwise through the migration
 * region of v1 if it has one. For a destination, `source` is the other end: two v1 devices keep the sizes of pieces.
 * The client stays the caller's.
 */
export async function deviceEnd(
  client: MovableDevice,
  source: MigrationEnd | null = null,
  options: ClientEndOptions = {},
): Promise<MigrationEnd> {
  const device = (await client.migrationFlags()) === null ? await V1Device.open(client) : null;
  if (device === null) return clientEnd(client, client.path, options);
  return new V1End(client, device, { source: source instanceof V1End ? source : null });
}
