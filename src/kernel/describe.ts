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
  const questions = new Questions();
  const info = await device.info();
  const regions = questions.each(info.regionCount, (index) => device.regions.tryInfo(index));
  const interrupts = questions.each(info.irqCount, (index) => device.interrupts.tryInfo(index));
  const config = await questions.ask(() => readConfig(device, regions));
  const flags = await questions.ask(() => device.migrationFlags());
  const migrates = flags !== null;
  const state = migrates ? await questions.ask(() => device.migrationState()) : null;
  const dataSize = migrates ? await questions.ask(() => device.migrationDataSize()) : null;
  const v1 = migrates ? null : await questions.ask(() => readV1(device, regions));
  return {
    ...{ agreement: device.agreement, info, regions, interrupts, config },
    migration: { flags, state, dataSize, ...(v1 === null ? {} : { v1 }) },
    ...{ server: await device.inspectServer(), refused: questions.refused },
  };
}

/** Questions that may be refused: the answer is null then, and the refusal is noted. */
class Questions {
  readonly refused: RefusalError[] = [];

  async ask<T>(question: () => Promise<T>): Promise<T | null> {
    try {
      return await question();
    } catch (error) {
      return this.#note(error);
    }
  }

  /** Asks for every index from 0; those that there are not are left out. */
  each<T>(count: number, question: (index: number) => T | null): readonly T[] {
    const found: T[] = [];
    for (let index = 0; index < Math.min(count, MAX_INDEX); index += 1) {
      const one = this.#now(() => question(index));
      if (one !== null) found.push(one);
    }
    return found;
  }

  #now<T>(question: () => T | null): T | null {
    try {
      return question();
    } catch (error) {
      return this.#note(error);
    }
  }

  #note(error: unknown): null {
    if (!(error instanceof RefusalError)) throw error;
    this.refused.push(error);
    return null;
  }
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
