import type { DeviceDescription, MovableDevice, PciConfig } from '../../client/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';
import { MigrationState } from '../../states/index.ts';
import type { ConfigurationNeed, EndInspection, MigrationEnd } from '../migration-end.ts';
import { agreedNeed, configurationOf } from './device-configuration.ts';

type Identity = Record<string, string | number>;

/** What a {@link clientEnd} is told besides. */
export interface ClientEndOptions {
  /**
   * How the configuration space of the device has to travel; null: in its own state, which is the default. Only for
   * servers that do not say, as those that are not Ferry.
   */
  readonly configuration?: ConfigurationNeed | null;
}

/**
 * A client's device as one end of a migration. The client stays the caller's: nothing here closes it. `name` is what
 * messages and next steps call it; the path it is connected to by default.
 * @throws FerryError ERR_CONFIGURATION_MODE when the server wants its configuration space moved in a way that is not
 * known, or that is another one than `options` say
 */
export function clientEnd(
  client: MovableDevice,
  name: string = client.path,
  options: ClientEndOptions = {},
): MigrationEnd {
  const configuration = agreedNeed(client.agreement.configuration, options.configuration);
  return {
    name,
    flags: () => client.migrationFlags(),
    state: () => client.migrationState(),
    setState: (state) => client.setMigrationState(state),
    read: (maxBytes, consume) => client.readMigrationData(maxBytes, consume),
    write: (bytes) => client.writeMigrationData(bytes),
    precopyInfo: () => client.precopyInfo(),
    dataSize: () => client.migrationDataSize(),
    reset: async () => {
      if (!client.agreement.claim) await discardLoaded(client);
      await client.reset();
      // A reset does not end a hold, RUNNING does (docs/ownership.md): whoever uses the device next can go on.
      await client.setMigrationState(MigrationState.RUNNING);
    },
    inspect: async () => ({ ...inspectionOf(await client.describe()), ...(await instanceOf(client)) }),
    ...(client.agreement.claim ? claimsOf(client) : {}),
    ...(configuration === null ? {} : configurationOf(client, configuration)),
  };
}

/**
 * A foreign server may refuse a reset in STOP (libvfio-user does), and running a device to have it reset would run what
 * was loaded. Going to RESUMING throws that away first.
 */
async function discardLoaded(client: MovableDevice): Promise<void> {
  if ((await client.migrationState()) !== MigrationState.STOP) return;
  try {
    await client.setMigrationState(MigrationState.RESUMING);
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
  }
}

/** What a server that knows claims can do besides. */
export type Claims = Required<Pick<MigrationEnd, 'claim' | 'retire' | 'release'>>;

const NOT_RETIRED = 'the server accepted that the device never runs again, and does not keep to it';

/** The claims of a device whose server knows them. */
export function claimsOf(client: MovableDevice): Claims {
  return {
    claim: async ({ token, epoch }) => void (await client.claim(token, epoch)),
    retire: async ({ token, epoch }) => {
      const { retired } = await client.retire(token, epoch);
      if (!retired) throw new FerryError('ERR_NOT_RETIRED', NOT_RETIRED, { errno: Errno.EIO });
    },
    release: async ({ token, epoch }) => void (await client.release(token, epoch)),
  };
}

/** Which device it is, whatever its name, if the server says. */
export async function instanceOf(client: MovableDevice): Promise<Pick<EndInspection, 'instance'>> {
  const claim = await client.claimStatus();
  return claim === null ? {} : { instance: claim.instance };
}

/** What a description says about a migration's chances. A server that is not Ferry only tells who it is. */
export function inspectionOf(description: DeviceDescription): EndInspection {
  return { identity: identityOf(description), busy: whyBusy(description.server) };
}

function identityOf({ config, regions, server }: DeviceDescription): Identity | null {
  const kind = field(field(server, 'identity'), 'kind');
  const identity: Identity = {
    ...(typeof kind === 'string' ? { kind } : {}),
    ...(config === null ? {} : idsOf(config)),
    ...Object.fromEntries(regions.map(({ index, size }) => [`the size of region ${index}`, Number(size)])),
  };
  return Object.keys(identity).length > 0 ? identity : null;
}

function idsOf({
  vendor,
  device,
  subsystemVendor,
  subsystemDevice,
  revision,
  classCode,
}: PciConfig): Identity {
  return { vendor, device, subsystemVendor, subsystemDevice, revision, 'class code': classCode };
}

function whyBusy(server: unknown): string | null {
  const migration = field(server, 'migration');
  if (field(migration, 'inTransition') === true) return 'a change of its migration state is under way';
  const owner = field(migration, 'sessionOwner');
  return typeof owner === 'string' ? `another ${owner} connection drives its migration` : null;
}

/** A member of a value that came as JSON; undefined when there is none. */
export function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}
