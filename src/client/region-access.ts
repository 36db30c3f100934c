import {
  Command,
  MultiWrite,
  ProtocolError,
  regionRead,
  regionWrite,
  regionWriteMulti,
} from '../protocol/index.ts';
import type { IncomingMessage } from '../transport/index.ts';
import { ClientError } from './client-error.ts';
import type { SmallWrite } from './device-methods.ts';
import type { Operation, Request } from './operation.ts';
import type { TransferLimits } from './transfer-limits.ts';

/** REGION_READ of any length, in as many messages as it takes. */
export function* readRegion(
  limits: TransferLimits,
  region: number,
  offset: number | bigint,
  length: number,
): Operation<Uint8Array> {
  const first = offsetOf(offset);
  requireLength(length);
  const result = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const count = Math.min(length - done, limits.read);
    const payload = regionRead.request.encode({ offset: first + BigInt(done), region, count });
    const reply = yield { command: Command.REGION_READ, payload };
    result.set(dataOf(reply, count), done);
    done += count;
  }
  return result;
}

/** REGION_WRITE of any length, each message waiting for its reply. */
export function* writeRegion(
  limits: TransferLimits,
  region: number,
  offset: number | bigint,
  data: Uint8Array,
): Operation<void> {
  for (const request of writeRequests(limits, region, offset, data)) {
    const reply = yield request;
    // A bare header is an answer too: QEMU takes it, so servers exist that send it.
    if (reply.length === 0) continue;
    const { count } = regionWrite.reply.decode(reply.payload());
    requireCount('REGION_WRITE', request.body?.length ?? 0, count);
  }
}

/** The messages of one write, in order. */
export function writeRequests(
  limits: TransferLimits,
  region: number,
  offset: number | bigint,
  data: Uint8Array,
): readonly Request[] {
  const first = offsetOf(offset);
  const requests: Request[] = [];
  for (let done = 0; done < data.length; done += limits.write) {
    const body = data.subarray(done, done + limits.write);
    const value = { offset: first + BigInt(done), region, count: body.length };
    regionRead.request.check(value);
    const payload = new Uint8Array(regionWrite.request.fixed.size);
    regionWrite.request.fixed.write(new DataView(payload.buffer), 0, value);
    requests.push({ command: Command.REGION_WRITE, payload, body });
  }
  return requests;
}

/** REGION_WRITE_MULTI, as many messages as it takes. */
export function* writeMany(limits: TransferLimits, writes: readonly SmallWrite[]): Operation<void> {
  const batch = Math.max(1, Math.floor(limits.write / MultiWrite.size));
  for (let at = 0; at < writes.length; at += batch) {
    const wrs = writes.slice(at, at + batch).map(toMultiWrite);
    const payload = regionWriteMulti.request.encode({ wrs });
    const reply = yield { command: Command.REGION_WRITE_MULTI, payload };
    const { wrCnt } = regionWriteMulti.reply.decode(reply.payload());
    requireCount('REGION_WRITE_MULTI', wrs.length, Number(wrCnt));
  }
}

/** Bytes of a u64 that a small write may have. */
const MAX_SMALL_WRITE = 8;

function toMultiWrite(write: SmallWrite): { offset: bigint; region: number; count: number; data: bigint } {
  const { region, data } = write;
  if (data.length === 0 || data.length > MAX_SMALL_WRITE) {
    const context = { region, length: data.length };
    throw new ClientError('ERR_CLIENT_ARGUMENT', 'a small write has 1 to 8 bytes', context);
  }
  // The wire wants the bytes in memory order at the start of the u64, whatever the host's order is.
  const padded = new Uint8Array(MAX_SMALL_WRITE);
  padded.set(data);
  const [value = 0n] = new BigUint64Array(padded.buffer);
  return { offset: offsetOf(write.offset), region, count: data.length, data: value };
}

/** The data of a REGION_READ reply, in place, after it was found to be what was asked for. */
function dataOf(reply: IncomingMessage, count: number): Uint8Array {
  const value = regionRead.reply.decode(reply.payload());
  requireCount('REGION_READ', count, value.count);
  return value.data;
}

/** Refuses an answer about more or fewer bytes (or writes) than were asked for. */
export function requireCount(command: string, asked: number, answered: number): void {
  if (asked === answered) return;
  throw new ProtocolError(`${command} reply: count ${answered} instead of ${asked}`, {
    context: { message: `${command} reply`, field: 'count', asked, answered },
  });
}

/** An offset as the wire has it. */
function offsetOf(offset: number | bigint): bigint {
  if (typeof offset === 'bigint' ? offset >= 0n : Number.isSafeInteger(offset) && offset >= 0)
    return BigInt(offset);
  throw new ClientError('ERR_CLIENT_ARGUMENT', `${offset} is no offset in a region`, { offset });
}

function requireLength(length: number): void {
  if (Number.isSafeInteger(length) && length >= 0) return;
  throw new ClientError('ERR_CLIENT_ARGUMENT', `${length} is no length`, { length });
}
