import { littleEndian, regionWriteMulti } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer } from './handler.ts';
import { mayAccess, regionAt, requireInside } from './region.ts';

/** REGION_WRITE_MULTI: all writes are checked before the first is made; a failing one stops the rest. */
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
    return { region, offset: Number(offset), count, data };
  });
  if (!writes.every(({ region }) => mayAccess(served, region, true, message.noReply))) return false;
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  for (const { region, offset, count, data } of writes) {
    view.setBigUint64(0, data, littleEndian);
    region.write(offset, bytes, 0, count);
  }
  answer(served, message, regionWriteMulti.reply.encode({ wrCnt }));
  return true;
}
