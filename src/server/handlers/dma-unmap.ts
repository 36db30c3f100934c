import { DmaUnmap, DmaUnmapBitmap, DmaUnmapFlag, dmaUnmap, type ValueOf } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer, answerWhenDone } from './handler.ts';

/** What the reply has besides the bitmap. */
const FIXED_REPLY = DmaUnmap.size + DmaUnmapBitmap.size;

type Unmap = ValueOf<typeof dmaUnmap.request>;

/** DMA_UNMAP: one range or all; with the dirty bitmap of the range while logging is on. Answered when nothing reaches it. */
export function handleDmaUnmap(served: ServedConnection, message: IncomingMessage): boolean {
  const request = dmaUnmap.request.decode(message.payload(), message.fds.length);
  const { memory } = served.server;
  const bitmap = request.bitmap === null ? null : takeBitmap(served, request, request.bitmap);
  const all = (request.flags & DmaUnmapFlag.ALL) !== 0;
  const work = all ? memory.unmapAll() : memory.unmap(request.address, request.size);
  const reply = dmaUnmap.reply.encode({ ...request, bitmap });
  answerWhenDone(served, message, work, (to) => answer(served, to, reply));
  return true;
}

/** Reads the log out before the range goes. Padded with zeros to the size that was asked for. */
function takeBitmap(served: ServedConnection, request: Unmap, wanted: { pgsize: bigint; size: bigint }) {
  const { memory, logging } = served.server;
  if (!logging.active)
    throw new ServerError('ERR_WRONG_STATE', 'DMA logging is off: there is no dirty bitmap');
  const limit = served.maxReply - FIXED_REPLY;
  if (wanted.size > BigInt(limit)) {
    throw new ServerError('ERR_TOO_LONG', `a bitmap of ${wanted.size} bytes does not fit into a message`, {
      limit,
    });
  }
  memory.requireMap(request.address, request.size);
  const bits = memory.dirtyLog.report(request.address, request.size, wanted.pgsize);
  const data = new Uint8Array(Number(wanted.size));
  data.set(bits);
  return { pgsize: wanted.pgsize, size: wanted.size, data };
}
