import { deviceGetRegionInfo, deviceGetRegionIoFds, RegionInfo, RegionInfoFlag } from '../protocol/index.ts';

/** Room for every capability that a region may have: a back end is always asked for all of them. */
export const REGION_INFO_ARGSZ = 64 * 1024;

/** The request that a back end gets for the client's DEVICE_GET_REGION_INFO. */
export function wholeInfoRequest(payload: Uint8Array): Uint8Array {
  const request = deviceGetRegionInfo.request.decode(payload);
  return deviceGetRegionInfo.request.encode({ ...request, argsz: REGION_INFO_ARGSZ });
}

/** Whether a region can be mapped, by what a back end has answered. */
export function isMappable(payload: Uint8Array): boolean {
  return (deviceGetRegionInfo.reply.decode(payload).flags & RegionInfoFlag.MMAP) !== 0;
}

/** An answer without what makes a region mappable, cut to what fits into `argsz`. */
export function withoutMapping(payload: Uint8Array, argsz: number): Uint8Array {
  const { capabilities, flags, ...info } = deviceGetRegionInfo.reply.decode(payload);
  const others = capabilities.filter(({ kind }) => kind !== 'sparse-mmap');
  const gone = RegionInfoFlag.MMAP | (others.length === 0 ? RegionInfoFlag.CAPS : 0);
  const value = { ...info, flags: flags & ~gone, capabilities: others };
  const { length } = deviceGetRegionInfo.reply.encode(value);
  const whole = deviceGetRegionInfo.reply.encode({ ...value, argsz: length });
  if (length <= argsz) return whole;
  // As the kernel does it: the fixed part alone, with the argsz that it takes (linux vfio_pci_core.c).
  const short = whole.slice(0, RegionInfo.size);
  const fixed = RegionInfo.read(new DataView(short.buffer), 0);
  RegionInfo.write(new DataView(short.buffer), 0, {
    ...fixed,
    flags: flags & ~RegionInfoFlag.MMAP,
    capOffset: 0,
  });
  return short;
}

/** The answer to DEVICE_GET_REGION_IO_FDS of a region that has none. */
export function noIoFds(payload: Uint8Array): Uint8Array {
  const { index } = deviceGetRegionIoFds.request.decode(payload);
  return deviceGetRegionIoFds.reply.encode({ argsz: 16, flags: 0, index, subRegions: [] });
}
