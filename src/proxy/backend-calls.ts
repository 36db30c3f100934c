import {
  Command,
  DEFAULT_MAX_DATA_XFER_SIZE,
  deviceFeature,
  Feature,
  FeatureFlag,
  features,
  MigrationData,
  migDataRead,
  migDataWrite,
  RegionIndex,
  regionRead,
  regionWrite,
  type Version,
} from '../protocol/index.ts';
import { MigrationFlag, type MigrationState } from '../states/index.ts';
import type { Backend } from './backend.ts';
import { ProxyError } from './proxy-error.ts';

/** A message to libvfio-user must not be larger than the pieces in which a socket gives it back (its issue 306). */
const MAX_WRITE = 32 * 1024;
/** The most that one answer with state may have, in bytes. */
const MAX_READ = 1024 * 1024;

/** Whether a back end can hand its state over, and take one. */
export async function canMigrate(backend: Backend): Promise<boolean> {
  const reply = await backend.ask(Command.DEVICE_FEATURE, feature(FeatureFlag.GET | Feature.MIGRATION, 8));
  if (reply.errno !== 0) return false;
  const { data } = deviceFeature.reply.decode(reply.payload);
  return (features.MIGRATION.get.reply.decode(data).flags & BigInt(MigrationFlag.STOP_COPY)) !== 0n;
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

/** Carries the whole state over; returns its bytes. Both sides work at the same time. @throws ProxyError */
export async function copyState(from: Backend, to: Backend, maxRead: number): Promise<number> {
  const size = Math.min(maxRead, MAX_READ);
  let bytes = 0;
  let next = readState(from, size);
  for (;;) {
    const data = await next;
    if (data.length === 0) return bytes;
    next = readState(from, size);
    // If the write fails, nobody waits for this read any more.
    next.catch(() => {});
    await writeState(to, data);
    bytes += data.length;
  }
}

async function readState(from: Backend, size: number): Promise<Uint8Array> {
  const request = migDataRead.request.encode({ argsz: MigrationData.size + size, size });
  const { data } = migDataRead.reply.decode(await from.require(Command.MIG_DATA_READ, request));
  if (data.length <= size) return data;
  throw new ProxyError('ERR_BACKEND', `${from.path} has given ${data.length} bytes of state, not ${size}`);
}

async function writeState(to: Backend, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length; at += MAX_WRITE) {
    const piece = data.subarray(at, at + MAX_WRITE);
    const argsz = MigrationData.size + piece.length;
    const request = migDataWrite.request.encode({ argsz, data: piece });
    await to.require(Command.MIG_DATA_WRITE, request);
  }
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
  return deviceFeature.request.encode({ argsz: 8 + data, flags, data: new Uint8Array(0) });
}
