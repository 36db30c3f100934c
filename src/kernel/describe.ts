import { type DeviceDescription, isV1Region, parsePciConfig, type RegionInfo } from '../client/index.ts';
import { RefusalError } from '../errors/index.ts';
import { RegionIndex, V1MigrationInfo } from '../protocol/index.ts';
import type { KernelDevice } from './kernel-device.ts';

/** Indices beyond which a driver that claims more is not asked. */
const MAX_INDEX = 256;
/** Bytes of the configuration space of a PCI Express device. */
const MAX_CONFIG_SIZE = 4096n;

/** Asks for everything that can be asked for without changing the device. */
export async function describeDevice(device: KernelDevice): Promise<DeviceDescription> {
  const refused: RefusalError[] = [];
  const attempt = async <T>(ask: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      refused.push(error);
      return null;
    }
  };
  const each = async <T>(count: number, ask: (index: number) => T | null): Promise<T[]> => {
    const found: T[] = [];
    for (let index = 0; index < Math.min(count, MAX_INDEX); index += 1) {
      const one = await attempt(() => ask(index));
      if (one !== null) found.push(one);
    }
    return found;
  };
  const info = await device.info();
  const regions = await each(info.regionCount, (index) => device.regions.tryInfo(index));
  const interrupts = await each(info.irqCount, (index) => device.interrupts.tryInfo(index));
  const config = await attempt(() => readConfig(device, regions));
  const flags = await attempt(() => device.migrationFlags());
  const state = flags === null ? null : await attempt(() => device.migrationState());
  const v1 = flags === null ? await attempt(() => readV1(device, regions)) : null;
  const dataSize = flags === null ? null : await attempt(() => device.migrationDataSize());
  return {
    ...{ agreement: device.agreement, info, regions, interrupts, config },
    migration: { flags, state, dataSize, ...(v1 === null ? {} : { v1 }) },
    ...{ server: await device.inspectServer(), refused },
  };
}

async function readConfig(device: KernelDevice, regions: readonly RegionInfo[]) {
  const region = regions.find(({ index }) => index === RegionIndex.CONFIG);
  if (region === undefined || !region.readable) return null;
  const size = Number(region.size < MAX_CONFIG_SIZE ? region.size : MAX_CONFIG_SIZE);
  return parsePciConfig(await device.read(region.index, 0, size));
}

async function readV1(device: KernelDevice, regions: readonly RegionInfo[]) {
  const region = regions.find(isV1Region);
  if (region === undefined) return null;
  return {
    region: region.index,
    deviceState: await device.readU32(region.index, V1MigrationInfo.at.deviceState),
  };
}
