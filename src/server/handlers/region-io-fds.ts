import { deviceGetRegionIoFds, RegionIoFds } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { answer } from './handler.ts';
import { regionAt } from './region.ts';

/** DEVICE_GET_REGION_IO_FDS: no region has any, so that every access comes as a message. */
export function handleRegionIoFds(served: ServedConnection, message: IncomingMessage): boolean {
  const { index } = deviceGetRegionIoFds.request.decode(message.payload(), message.fds.length);
  regionAt(served, index);
  const reply = { argsz: RegionIoFds.size, flags: 0, index, subRegions: [] };
  answer(served, message, deviceGetRegionIoFds.reply.encode(reply));
  return true;
}
