import type { FunctionResetReason, Region } from '../../device/index.ts';
import { Errno } from '../../errors/index.ts';
import {
  ConfigurationMode,
  echoRegionAccess,
  littleEndian,
  ProtocolError,
  RegionAccess,
  RegionIndex,
  readU64AsNumber,
  regionRead,
  regionWrite,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer, answerWhenDone } from './handler.ts';
import { mayAccess, regionAt, requireInside } from './region.ts';
import { mayReset, withheld } from './reset.ts';
import { handleV1Read, handleV1Write, isV1Access } from './v1-region.ts';

const AT = RegionAccess.at;
const FIXED = RegionAccess.size;

/** REGION_READ: the hot path of every device. Decodes in place, allocates nothing. */
export function handleRegionRead(served: ServedConnection, message: IncomingMessage): boolean {
  const { view, start } = message;
  if (message.length !== FIXED) throw wrongSize(message, regionRead.request);
  if (isV1Access(served, message)) return handleV1Read(served, message);
  const region = regionAt(served, view.getUint32(start + AT.region, littleEndian));
  const count = view.getUint32(start + AT.count, littleEndian);
  const offset = readU64AsNumber(view, start + AT.offset);
  requireInside(served, region, offset, count);
  if (!region.readable) throw notAllowed('read', region.index);
  if (!mayAccess(served, region, false, false)) return false;
  if (served.server.switchover.shield !== null && isShielded(served, region.index, offset, count)) {
    return answerShielded(served, message);
  }
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

/** The one byte that a VMM reads so that it says of an interrupt that it is served. */
function isShielded(
  { role, server }: ServedConnection,
  index: number,
  offset: number,
  count: number,
): boolean {
  const { shield } = server.switchover;
  return role === 'main' && count === 1 && shield?.region === index && shield.offset === offset;
}

function answerShielded({ connection }: ServedConnection, message: IncomingMessage): true {
  const at = connection.reply(message, FIXED + 1);
  if (at < 0) return true;
  echoRegionAccess(message.view, message.start, connection.out.view, at);
  connection.out.bytes[at + FIXED] = 0;
  return true;
}

/**
 * REGION_WRITE on the control socket: to the migration region of v1, and to the configuration space of a device whose
 * state is without it ({@link mayAccess}).
 */
export function handleControlWrite(served: ServedConnection, message: IncomingMessage): boolean {
  if (message.length >= FIXED && (isV1Access(served, message) || isConfigOfItsOwn(served, message))) {
    return handleRegionWrite(served, message);
  }
  throw new ServerError('ERR_WRONG_SOCKET', 'REGION_WRITE belongs on the main socket', {
    command: 'REGION_WRITE',
  });
}

function isConfigOfItsOwn(served: ServedConnection, { view, start }: IncomingMessage): boolean {
  const { configuration = ConfigurationMode.IN_STATE } = served.server.device.migration;
  const region = view.getUint32(start + AT.region, littleEndian);
  return configuration !== ConfigurationMode.IN_STATE && region === RegionIndex.CONFIG;
}

/** REGION_WRITE, posted or not. */
export function handleRegionWrite(served: ServedConnection, message: IncomingMessage): boolean {
  const { view, start } = message;
  if (message.length < FIXED) throw wrongSize(message, regionWrite.request);
  const count = view.getUint32(start + AT.count, littleEndian);
  if (message.length !== FIXED + count) throw wrongSize(message, regionWrite.request);
  if (isV1Access(served, message)) return handleV1Write(served, message);
  const region = regionAt(served, view.getUint32(start + AT.region, littleEndian));
  const offset = readU64AsNumber(view, start + AT.offset);
  requireInside(served, region, offset, count);
  if (!region.writable) throw notAllowed('write', region.index);
  if (!mayAccess(served, region, true, message.noReply)) return false;
  const reset = region.initiatesReset?.(offset, message.bytes, start + FIXED, count) ?? null;
  if (reset !== null) return resetByWrite(served, message, { region, offset, count, reset });
  region.write(offset, message.bytes, start + FIXED, count);
  if (region.index === RegionIndex.CONFIG) noteConfigWrite(served, message, offset);
  const at = served.connection.reply(message, FIXED);
  if (at >= 0) echoRegionAccess(view, start, served.connection.out.view, at);
  return true;
}

function noteConfigWrite({ role, server }: ServedConnection, message: IncomingMessage, offset: number): void {
  if (role !== 'main' || !server.reconnection.withholding) return;
  server.reconnection.noteWrite(offset, message.bytes.subarray(message.start + FIXED, message.end));
}

interface ResettingWrite {
  readonly region: Region;
  readonly offset: number;
  readonly count: number;
  readonly reset: FunctionResetReason;
}

/** The guest resets the function, such as by Initiate FLR: a write, and then what DEVICE_RESET does. */
function resetByWrite(
  served: ServedConnection,
  message: IncomingMessage,
  { region, offset, count, reset }: ResettingWrite,
): boolean {
  const isWithheld = withheld(served);
  if (!isWithheld && !mayReset(served)) return false;
  region.write(offset, message.bytes, message.start + FIXED, count);
  const reply = regionWrite.reply.encode({ offset: BigInt(offset), region: region.index, count });
  const work = isWithheld ? undefined : served.server.reset(served, reset);
  answerWhenDone(served, message, work, (to) => answer(served, to, reply));
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
