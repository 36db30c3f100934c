import { Errno, FerryError } from '../../errors/index.ts';
import { ConfigurationMode, RegionIndex } from '../../protocol/index.ts';
import type { ConfigurationNeed, MigrationEnd } from '../migration-end.ts';
import { actionWrites, type ConfigWrite, setupWrites } from './config-setup.ts';
import { OrderedWrites } from './ordered-writes.ts';

/** The part of a client that is needed to move the configuration space of its device. */
export interface ConfigurationClient {
  regionInfo(index: number): Promise<{ readonly size: bigint; readonly readable: boolean }>;
  read(region: number, offset: number, length: number): Promise<Uint8Array>;
  write(region: number, offset: number, data: Uint8Array): Promise<void>;
  writeMigrationData(bytes: Uint8Array): Promise<void>;
}

/** What an end with configuration space has besides. */
export type ConfigurationMethods = Required<
  Pick<
    MigrationEnd,
    | 'configurationNeed'
    | 'readConfiguration'
    | 'writeConfiguration'
    | 'recallConfiguration'
    | 'performActions'
    | 'write'
  >
>;

/** The sizes that configuration space has: conventional, and PCI Express. */
const SIZES: readonly bigint[] = [256n, 4096n];

/**
 * How a configuration space travels: as its server has said in VERSION (`mode`; null: nothing), else as the user says;
 * null: in the device's state. @throws FerryError ERR_CONFIGURATION_MODE when they contradict each other
 */
export function agreedNeed(
  mode: number | null,
  wanted: ConfigurationNeed | null | undefined,
): ConfigurationNeed | null {
  if (mode === null) return wanted ?? null;
  const said = needOf(mode);
  if (wanted === undefined || wanted === said) return said;
  const message = `the server says that its configuration space travels ${inWords(said)}, and not ${inWords(wanted)}: leave that to it`;
  throw new FerryError('ERR_CONFIGURATION_MODE', message, { errno: Errno.EINVAL, context: { mode } });
}

function inWords(need: ConfigurationNeed | null): string {
  if (need === null) return "in the device's state";
  return { none: 'once, at the end', ahead: 'ahead', 'every-time': 'every time' }[need];
}

/** What a server has said, in the engine's words. */
function needOf(mode: number | null): ConfigurationNeed | null {
  switch (mode) {
    case null:
    case ConfigurationMode.IN_STATE:
      return null;
    case ConfigurationMode.AT_END:
      return 'none';
    case ConfigurationMode.AHEAD:
      return 'ahead';
    case ConfigurationMode.EVERY_TIME:
      return 'every-time';
    default: {
      const message = `the server wants its configuration space moved in a way (${mode}) that this version does not know`;
      throw new FerryError('ERR_CONFIGURATION_MODE', message, { errno: Errno.EOPNOTSUPP, context: { mode } });
    }
  }
}

/**
 * The configuration space (region 7) of a client's device, where it does not travel in the device's own state. What is
 * written to it is declared in config-registers.ts; with `every-time` it is written as it is, and the device sees to
 * the rest.
 */
export function configurationOf(client: ConfigurationClient, need: ConfigurationNeed): ConfigurationMethods {
  const writes = new OrderedWrites();
  const space = new DeviceConfiguration(client, need);
  return {
    configurationNeed: async () => need,
    readConfiguration: () => space.read(),
    write: (bytes) => writes.data(bytes, (data) => client.writeMigrationData(data)),
    writeConfiguration: (bytes, withheld) => {
      const copy = bytes.slice();
      return writes.alone(() => space.setUp(copy, withheld));
    },
    recallConfiguration: (bytes, withheld) => space.recall(bytes.slice(), withheld),
    performActions: (actions) => writes.alone(() => space.perform(actions)),
  };
}

/** Sets the configuration space of one device up, and remembers what was withheld. */
class DeviceConfiguration {
  readonly #client: ConfigurationClient;
  readonly #need: ConfigurationNeed;
  #wanted: Uint8Array | null = null;
  #withheld = 0;

  constructor(client: ConfigurationClient, need: ConfigurationNeed) {
    this.#client = client;
    this.#need = need;
  }

  async read(): Promise<Uint8Array> {
    const { size, readable } = await this.#client.regionInfo(RegionIndex.CONFIG);
    if (!readable || !SIZES.includes(size)) throw noConfiguration(size);
    return this.#client.read(RegionIndex.CONFIG, 0, Number(size));
  }

  /** `wanted` must not change afterwards. */
  async setUp(wanted: Uint8Array, withheld: number): Promise<void> {
    const own = await this.read();
    this.recall(wanted, withheld);
    if (this.#need === 'every-time' && own.length === wanted.length) {
      await this.#client.write(RegionIndex.CONFIG, 0, wanted);
    } else {
      await this.#carryOut(setupWrites(own, wanted, withheld));
    }
  }

  /** `wanted` must not change afterwards. */
  recall(wanted: Uint8Array, withheld: number): void {
    this.#wanted = wanted;
    this.#withheld = withheld;
  }

  /** Nothing when this process has never been told what to set up. */
  async perform(actions: number): Promise<void> {
    if (this.#wanted === null) return;
    this.#withheld &= ~actions;
    await this.#carryOut(actionWrites(await this.read(), this.#wanted, actions, this.#withheld));
  }

  async #carryOut(writes: readonly ConfigWrite[]): Promise<void> {
    for (const { offset, bytes } of writes) await this.#client.write(RegionIndex.CONFIG, offset, bytes);
  }
}

function noConfiguration(size: bigint): FerryError {
  const message = `the device has a configuration space of ${size} bytes, which is none of a PCI device`;
  return new FerryError('ERR_CONFIGURATION_DIFFERS', message, { errno: Errno.EINVAL, context: { size } });
}
