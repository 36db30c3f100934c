import type { Region, SharedRegion } from '../../device/index.ts';
import { deviceGetRegionInfo, RegionInfo, RegionInfoFlag } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { answer } from './handler.ts';
import { regionAt } from './region.ts';
import { answerV1Info, v1RegionAt } from './v1-region.ts';

/**
 * DEVICE_GET_REGION_INFO. A region that can be mapped brings its fd, but only once the capabilities fit into argsz:
 * the first, too small request of a client would leak it (as libvfio-user does it). The control socket is given none,
 * nor is a client that takes no fds.
 */
export function handleRegionInfo(served: ServedConnection, message: IncomingMessage): boolean {
  const { index, argsz } = deviceGetRegionInfo.request.decode(message.payload(), message.fds.length);
  const v1 = v1RegionAt(served, index);
  if (v1 !== null) {
    answerV1Info(served, message, v1, argsz);
    return true;
  }
  const region = regionAt(served, index);
  const takesFds = served.role === 'main' && (served.agreed?.send.maxMsgFds ?? 0) > 0;
  const shared = takesFds ? region.shared : null;
  const whole = encode(region, shared);
  if (whole.length <= argsz) {
    answer(served, message, whole, shared === null ? [] : [shared.expose()]);
  } else {
    answer(served, message, encodeShort(region, whole.length));
  }
  return true;
}

function flagsOf(region: Region): number {
  return (region.readable ? RegionInfoFlag.READ : 0) | (region.writable ? RegionInfoFlag.WRITE : 0);
}

function encode(region: Region, shared: SharedRegion | null): Uint8Array {
  const sparse = shared !== null && !shared.whole;
  const areas = (shared?.areas ?? []).map(({ offset, size }) => ({
    offset: BigInt(offset),
    size: BigInt(size),
  }));
  const value = {
    argsz: 0,
    flags: flagsOf(region) | (shared === null ? 0 : RegionInfoFlag.MMAP) | (sparse ? RegionInfoFlag.CAPS : 0),
    index: region.index,
    size: BigInt(region.size),
    offset: shared?.fileOffset ?? 0n,
    capabilities: sparse ? [{ kind: 'sparse-mmap' as const, areas }] : [],
  };
  const { length } = deviceGetRegionInfo.reply.encode(value);
  return deviceGetRegionInfo.reply.encode({ ...value, argsz: length });
}

/** The fixed part alone, with the argsz that it takes (linux vfio_pci_core.c). */
function encodeShort(region: Region, needed: number): Uint8Array {
  const bytes = new Uint8Array(RegionInfo.size);
  RegionInfo.write(new DataView(bytes.buffer), 0, {
    argsz: needed,
    flags: flagsOf(region) | RegionInfoFlag.MMAP,
    index: region.index,
    capOffset: 0,
    size: BigInt(region.size),
    offset: 0n,
  });
  return bytes;
}
