import type { Region } from '../../device/index.ts';
import {
  deviceGetRegionIoFds,
  IoEventfdFlag,
  IoFdType,
  IoSubRegion,
  NO_FD_INDEX,
  RegionIoFds,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { Bell, BellSet } from '../doorbells.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer } from './handler.ts';
import { regionAt } from './region.ts';

/**
 * DEVICE_GET_REGION_IO_FDS: the eventfds through which doorbells of the region can be rung. When argsz is too small for
 * all of them the reply says what it takes, and brings none: a client that asks again would leak those of the first.
 */
export function handleRegionIoFds(served: ServedConnection, message: IncomingMessage): boolean {
  const { index, argsz } = deviceGetRegionIoFds.request.decode(message.payload(), message.fds.length);
  const region = regionAt(served, index);
  requirePresent(region);
  if (argsz > served.server.capabilities.maxDataXferSize) {
    throw new ServerError('ERR_TOO_LONG', `argsz ${argsz} is more than max_data_xfer_size`, { argsz });
  }
  const set = served.server.doorbells.offer(region, served.agreed?.send.maxMsgFds ?? 0);
  const count = set.bells.length;
  const needed = RegionIoFds.size + count * IoSubRegion.size;
  const fits = needed <= argsz;
  const fds = fits ? fdsOf(set) : [];
  const subRegions = fits ? set.bells.map((bell) => describe(bell, set, fds)) : null;
  const reply = { argsz: needed, flags: 0, index, count, subRegions };
  answer(served, message, deviceGetRegionIoFds.reply.encode(reply, fds.length), fds);
  return true;
}

/** A region that the device lacks is refused, as libvfio-user does it. */
function requirePresent({ index, size }: Region): void {
  if (size === 0)
    throw new ServerError('ERR_BAD_INDEX', `the device has no region ${index}`, { region: index });
}

/** The shadow memory first, then the eventfds. */
function fdsOf({ bells, shadow }: BellSet): readonly number[] {
  return [...(shadow === null ? [] : [shadow.fd]), ...bells.map(({ eventfd }) => eventfd)];
}

function describe(
  { region, doorbell, eventfd, slot }: Bell,
  { shadow }: BellSet,
  fds: readonly number[],
): IoSubRegion {
  const { offset, size, datamatch } = doorbell;
  const shadowed = slot !== null && shadow !== null;
  return {
    offset: BigInt(offset),
    size: BigInt(size),
    fdIndex: fds.indexOf(eventfd),
    type: shadowed ? IoFdType.SHADOW : IoFdType.IOEVENTFD,
    flags:
      (datamatch === undefined ? 0 : IoEventfdFlag.DATAMATCH) |
      (region.ports === true ? IoEventfdFlag.PIO : 0),
    shadowMemFdIndex: shadowed ? fds.indexOf(shadow.fd) : NO_FD_INDEX,
    shadowOffset: shadowed ? BigInt(shadow.offsetOf(slot)) : 0n,
    datamatch: BigInt(datamatch ?? 0),
  };
}
