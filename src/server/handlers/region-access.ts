import { Errno } from '../../errors/index.ts';
import {
  echoRegionAccess,
  littleEndian,
  ProtocolError,
  RegionAccess,
  readU64AsNumber,
  regionRead,
  regionWrite,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { mayAccess, regionAt, requireInside } from './region.ts';

const AT = RegionAccess.at;
const FIXED = RegionAccess.size;

/** REGION_READ: the hot path of every device. Decodes in place, allocates nothing. */
export function handleRegionRead(served: ServedConnection, message: IncomingMessage): boolean {
  const { view, start } = message;
  if (message.length !== FIXED) throw wrongSize(message, regionRead.request);
  const region = regionAt(served, view.getUint32(start + AT.region, littleEndian));
  const count = view.getUint32(start + AT.count, littleEndian);
  const offset = readU64AsNumber(view, start + AT.offset);
  requireInside(served, region, offset, count);
  if (!region.readable) throw notAllowed('read', region.index);
  if (!mayAccess(served, region, false, false)) return false;
  const { connection, scratch } = served;
  const small = count <= scratch.length;
  if (small) region.read(offset, scratch, 0, count);
  const at = connection.reply(message, FIXED + count);
  if (at < 0) return true;
  const { out } = connection;
  echoRegionAccess(view, start, out.view, at);
  if (small) copySmall(scratch, out.bytes, at + FIXED, count);
  else region.read(offset, out.bytes, at + FIXED, count);
  return true;
}

/** REGION_WRITE, posted or not. */
export function handleRegionWrite(served: ServedConnection, message: IncomingMessage): boolean {
  const { view, start } = message;
  if (message.length < FIXED) throw wrongSize(message, regionWrite.request);
  const region = regionAt(served, view.getUint32(start + AT.region, littleEndian));
  const count = view.getUint32(start + AT.count, littleEndian);
  if (message.length !== FIXED + count) throw wrongSize(message, regionWrite.request);
  const offset = readU64AsNumber(view, start + AT.offset);
  requireInside(served, region, offset, count);
  if (!region.writable) throw notAllowed('write', region.index);
  if (!mayAccess(served, region, true, message.noReply)) return false;
  region.write(offset, message.bytes, start + FIXED, count);
  const at = served.connection.reply(message, FIXED);
  if (at >= 0) echoRegionAccess(view, start, served.connection.out.view, at);
  return true;
}

/** A loop beats a subarray and set for the few bytes of a register. */
function copySmall(from: Uint8Array, to: Uint8Array, at: number, count: number): void {
  for (let i = 0; i < count; i += 1) to[at + i] = from[i] ?? 0;
}

/** Lets the declaration say what is wrong with the length. */
function wrongSize(
  message: IncomingMessage,
  declared: { decode(bytes: Uint8Array): unknown },
): ProtocolError {
  declared.decode(message.payload());
  return new ProtocolError(`${message.length} bytes are no region access`, { errno: Errno.EINVAL });
}

function notAllowed(what: string, region: number): ServerError {
  return new ServerError('ERR_BAD_RANGE', `region ${region} can't be ${what}`, { region });
}
