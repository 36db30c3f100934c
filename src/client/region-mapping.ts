import { check, type Native } from '../native/index.ts';
import { ClientError } from './client-error.ts';
import type { MappedArea, MappedRegion, RegionArea, RegionInfo } from './descriptions.ts';
import type { Operation } from './operation.ts';
import { queryRegion } from './region-info.ts';
import { preventFaults } from './shared-file.ts';
import type { TransferLimits } from './transfer-limits.ts';

/** Protection bits of Native.map. */
const READ = 1;
const WRITE = 2;

/** Maps what the server shares of a region. The mapping is the caller's. */
export function* mapRegion(native: Native, limits: TransferLimits, index: number): Operation<MappedRegion> {
  const { info, fd } = yield* queryRegion(native, limits, index);
  // What a server calls mappable but lets nobody read or write has nothing to be mapped for.
  if (fd === null || info.areas.length === 0 || !(info.readable || info.writable)) {
    if (fd !== null) native.close(fd);
    throw new ClientError('ERR_DEVICE_LACKS', `region ${index} shares no memory`, { region: index });
  }
  return mapAreas(native, info, fd);
}

function mapAreas(native: Native, info: RegionInfo, fd: number): MappedRegion {
  const buffers: ArrayBuffer[] = [];
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    for (const buffer of buffers) native.unmap(buffer);
    native.close(fd);
  };
  try {
    const end = info.areas.reduce((most, { offset, size }) => max(most, offset + size), 0n);
    preventFaults(native, fd, info.fileOffset + end, `region ${info.index}`);
    const areas = info.areas.map((area) => mapArea(native, info, fd, area, buffers));
    return { index: info.index, fd, areas, close };
  } catch (error) {
    close();
    throw error;
  }
}

function mapArea(
  native: Native,
  info: RegionInfo,
  fd: number,
  area: RegionArea,
  buffers: ArrayBuffer[],
): MappedArea {
  const protection = (info.readable ? READ : 0) | (info.writable ? WRITE : 0);
  const fileOffset = numberOf(info.fileOffset + area.offset);
  const length = numberOf(area.size);
  const context = { region: info.index, offset: area.offset, size: area.size };
  const buffer = check(native.map(fd, fileOffset, length, protection), 'map', context);
  buffers.push(buffer);
  return { offset: numberOf(area.offset), bytes: new Uint8Array(buffer) };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function numberOf(value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new ClientError('ERR_DEVICE_LACKS', `0x${value.toString(16)} is too large to be mapped`, { value });
}
