import { littleEndian, regionWriteMulti } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer, answerWhenDone } from './handler.ts';
import { mayAccess, regionAt, requireInside } from './region.ts';
import { mayReset } from './reset.ts';

/**
 * REGION_WRITE_MULTI: all writes are checked before the first is made; a failing one stops the rest. A reset that one
 * of them initiates comes after the last: what a guest writes right behind it is undefined.
 */
export function handleRegionWriteMulti(served: ServedConnection, message: IncomingMessage): boolean {
  if (served.agreed?.writeMultiple !== true) {
    throw new ServerError('ERR_UNKNOWN_COMMAND', 'REGION_WRITE_MULTI was not agreed on');
  }
  const { wrCnt, wrs } = regionWriteMulti.request.decode(message.payload(), message.fds.length);
  const writes = wrs.map(({ offset, region: index, count, data }) => {
    const region = regionAt(served, index);
    requireInside(served, region, offset <= Number.MAX_SAFE_INTEGER ? Number(offset) : -1, count);
    if (!region.writable)
      throw new ServerError('ERR_BAD_RANGE', `region ${index} can't be written`, { region: index });
    return { region, offset: Number(offset), count, bytes: inMemoryOrder(data) };
  });
  if (!writes.every(({ region }) => mayAccess(served, region, true, message.noReply))) return false;
  const reason = writes
    .map(({ region, offset, bytes, count }) => region.initiatesReset?.(offset, bytes, 0, count) ?? null)
    .find((initiated) => initiated !== null);
  if (reason !== undefined && !mayReset(served)) return false;
  for (const { region, offset, count, bytes } of writes) region.write(offset, bytes, 0, count);
  const reset = reason === undefined ? undefined : served.server.reset(served, reason);
  answerWhenDone(served, message, reset, (to) =>
    answer(served, to, regionWriteMulti.reply.encode({ wrCnt })),
  );
  return true;
}

function inMemoryOrder(data: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, data, littleEndian);
  return bytes;
}
