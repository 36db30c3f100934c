import {
  Command,
  DEFAULT_MAX_DATA_XFER_SIZE,
  deviceFeature,
  Feature,
  FeatureFlag,
  features,
  RegionIndex,
  regionRead,
  regionWrite,
  type Version,
} from '../protocol/index.ts';
import { MigrationFlag, MigrationState } from '../states/index.ts';
import type { Backend } from './backend.ts';
import { ProxyError } from './proxy-error.ts';

/** The payload of a request that has none. */
const NOTHING = new Uint8Array(0);

/** How a back end migrates: bits of MigrationFlag; 0 when it can't hand its state over, nor take one. */
export async function migrationFlags(backend: Backend): Promise<number> {
  const reply = await backend.ask(Command.DEVICE_FEATURE, feature(FeatureFlag.GET | Feature.MIGRATION, 8));
  if (reply.errno !== 0) return 0;
  const { data } = deviceFeature.reply.decode(reply.payload);
  const flags = Number(features.MIGRATION.get.reply.decode(data).flags & 0xffff_ffffn);
  return (flags & MigrationFlag.STOP_COPY) === 0 ? 0 : flags;
}

/** The migration state. @throws ProxyError */
export async function stateOf(backend: Backend): Promise<number> {
  const request = feature(FeatureFlag.GET | Feature.MIG_DEVICE_STATE, 8);
  const { data } = deviceFeature.reply.decode(await backend.require(Command.DEVICE_FEATURE, request));
  return features.MIG_DEVICE_STATE.get.reply.decode(data).deviceState;
}

/** Changes the migration state. @throws ProxyError */
export async function setState(backend: Backend, deviceState: MigrationState): Promise<void> {
  const data = features.MIG_DEVICE_STATE.set.request.encode({ deviceState, dataFd: -1 });
  const argsz = 8 + data.length;
  const flags = FeatureFlag.SET | Feature.MIG_DEVICE_STATE;
  await backend.require(Command.DEVICE_FEATURE, deviceFeature.request.encode({ argsz, flags, data }));
}

/** Resets the device. @throws ProxyError */
export async function reset(backend: Backend): Promise<void> {
  await backend.require(Command.DEVICE_RESET, NOTHING);
}

/** What a back end has taken of a state, when a swap to it failed, is thrown away; returns its migration state. */
export async function forgetHalfState(backend: Backend): Promise<number> {
  const state = await stateOf(backend);
  if (state !== MigrationState.RESUMING && state !== MigrationState.ERROR) return state;
  await reset(backend);
  const after = await stateOf(backend);
  if (after !== MigrationState.RESUMING) return after;
  // libvfio-user resets the device and leaves the state where it is.
  await setState(backend, MigrationState.STOP);
  return MigrationState.STOP;
}

/** Reads the configuration space. @throws ProxyError */
export async function readConfiguration(from: Backend, size: number, maxRead: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += maxRead) {
    const count = Math.min(maxRead, size - at);
    const request = regionRead.request.encode({ offset: BigInt(at), region: RegionIndex.CONFIG, count });
    const { data } = regionRead.reply.decode(await from.require(Command.REGION_READ, request));
    if (data.length !== count) {
      throw new ProxyError('ERR_BACKEND', `${from.path} has read ${data.length} bytes, not ${count}`);
    }
    bytes.set(data, at);
  }
  return bytes;
}

/** Writes to the configuration space. @throws ProxyError */
export async function writeConfiguration(to: Backend, offset: number, data: Uint8Array): Promise<void> {
  const access = { offset: BigInt(offset), region: RegionIndex.CONFIG, count: data.length, data };
  await to.require(Command.REGION_WRITE, regionWrite.request.encode(access));
}

/** The largest data that two sides have told each other, in bytes. */
export function transferLimit(one: Version, other: Version): number {
  const limit = ({ capabilities }: Version): number =>
    capabilities?.maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE;
  return Math.min(limit(one), limit(other));
}

function feature(flags: number, data: number): Uint8Array {
  return deviceFeature.request.encode({ argsz: 8 + data, flags, data: NOTHING });
}
