import type { Native } from '../native/index.ts';
import { type Agreement, RegionIndex, V1MigrationInfo } from '../protocol/index.ts';
import type { DeviceDescription, DeviceInfo, IrqInfo, RegionInfo, V1Description } from './descriptions.ts';
import { deviceInfo, irqInfo } from './device-info.ts';
import { migrationDataSize, migrationFlags, migrationState } from './migration-state.ts';
import type { Operation } from './operation.ts';
import { PCI_HEADER_SIZE, type PciConfig, parsePciConfig } from './pci-config.ts';
import { readRegion } from './region-access.ts';
import { regionInfo } from './region-info.ts';
import { readRegister } from './register-value.ts';
import { RemoteError } from './remote-error.ts';
import { inspectServer } from './server-inspection.ts';
import type { TransferLimits } from './transfer-limits.ts';
import { isV1Region } from './v1-region.ts';

/** Everything that {@link describe} needs to know. */
export interface DescribeContext {
  readonly native: Native;
  readonly limits: TransferLimits;
  readonly agreement: Agreement;
}

/** Indices beyond which a server that claims more is not asked; QEMU draws the line at 100 regions and 50 interrupts. */
const MAX_INDEX = 256;
/** Bytes of the configuration space of a PCI Express device. */
const MAX_CONFIG_SIZE = 4096n;

/** Asks for everything that can be asked for without changing the device. */
export function* describe(context: DescribeContext): Operation<DeviceDescription> {
  const { native, limits, agreement } = context;
  const refused: RemoteError[] = [];
  const info = yield* attempt(refused, deviceInfo());
  const regions = yield* each(refused, countOf(info, 'regionCount'), (index) =>
    regionInfo(native, limits, index),
  );
  const interrupts = yield* each(refused, countOf(info, 'irqCount'), irqInfo);
  const config = yield* readConfig(limits, refused, regions);
  const flags = yield* attempt(refused, migrationFlags());
  const state = flags === null ? null : yield* attempt(refused, migrationState());
  const v1 = flags === null ? yield* attempt(refused, readV1(limits, regions)) : null;
  const dataSize = flags === null ? null : yield* attempt(refused, migrationDataSize());
  const server = yield* attempt(refused, inspectServer(agreement, limits));
  return {
    agreement,
    info,
    regions,
    interrupts,
    config,
    migration: { flags, state, dataSize, ...(v1 === null ? {} : { v1 }) },
    server,
    refused,
  };
}

/** What an operation gives, or null when the server refuses it, which is noted. */
function* attempt<T>(refused: RemoteError[], operation: Operation<T>): Operation<T | null> {
  try {
    return yield* operation;
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    refused.push(error);
    return null;
  }
}

/** Asks for every index from 0; those that the server refuses are left out. */
function* each<T extends RegionInfo | IrqInfo>(
  refused: RemoteError[],
  count: number,
  ask: (index: number) => Operation<T>,
): Operation<T[]> {
  const found: T[] = [];
  for (let index = 0; index < count; index += 1) {
    const one = yield* attempt(refused, ask(index));
    if (one !== null) found.push(one);
  }
  return found;
}

/** What a v1 migration region says; null without one. */
function* readV1(limits: TransferLimits, regions: readonly RegionInfo[]): Operation<V1Description | null> {
  const region = regions.find(isV1Region);
  if (region === undefined) return null;
  const deviceState = yield* readRegister(limits, region.index, V1MigrationInfo.at.deviceState, 4);
  return { region: region.index, deviceState };
}

function countOf(info: DeviceInfo | null, what: 'regionCount' | 'irqCount'): number {
  return Math.min(info?.[what] ?? 0, MAX_INDEX);
}

function* readConfig(
  limits: TransferLimits,
  refused: RemoteError[],
  regions: readonly RegionInfo[],
): Operation<PciConfig | null> {
  const region = regions.find(({ index }) => index === RegionIndex.CONFIG);
  if (region === undefined || region.size < BigInt(PCI_HEADER_SIZE)) return null;
  const size = Number(region.size < MAX_CONFIG_SIZE ? region.size : MAX_CONFIG_SIZE);
  const bytes = yield* attempt(refused, readRegion(limits, region.index, 0, size));
  return bytes === null ? null : parsePciConfig(bytes);
}
