import {
  deviceFeature,
  FEATURE_MASK,
  Feature,
  type FeatureDeclaration,
  FeatureHead,
  featureOf,
  featureOperation,
  features,
} from '../../protocol/index.ts';
import type { IncomingMessage, ReplyTicket } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer, answerWhenDone, requireDriver } from './handler.ts';

/** DEVICE_FEATURE: PROBE by the declarations alone, GET and SET by the functions below. */
export function handleFeature(served: ServedConnection, message: IncomingMessage): boolean {
  const request = deviceFeature.request.decode(message.payload(), message.fds.length);
  const id = request.flags & FEATURE_MASK;
  const operation = featureOperation(request, supported(served, id));
  if (operation === 'probe') answer(served, message, message.payload().slice());
  else if (operation === 'get') answerGet(served, message, request.flags, get(served, id, request));
  else set(served, message, id, request.data);
  return true;
}

/** Features of migration are those of a device that migrates, by v2; DMA logging is the server's own. */
function supported(served: ServedConnection, id: number): FeatureDeclaration | undefined {
  const ofMigration =
    id === Feature.MIGRATION || id === Feature.MIG_DEVICE_STATE || id === Feature.MIG_DATA_SIZE;
  const { migration, v1 } = served.server;
  return ofMigration && (migration.machine === null || v1 !== null) ? undefined : featureOf(id);
}

function answerGet(served: ServedConnection, to: ReplyTicket, flags: number, data: Uint8Array): void {
  answer(served, to, deviceFeature.reply.encode({ argsz: FeatureHead.size + data.length, flags, data }));
}

function get(served: ServedConnection, id: number, request: { argsz: number; data: Uint8Array }): Uint8Array {
  const { migration, device } = served.server;
  switch (id) {
    case Feature.MIGRATION:
      return features.MIGRATION.get.reply.encode({ flags: BigInt(device.migration.flags) });
    case Feature.MIG_DEVICE_STATE:
      return features.MIG_DEVICE_STATE.get.reply.encode({
        deviceState: migration.report(served),
        dataFd: -1,
      });
    case Feature.MIG_DATA_SIZE:
      return features.MIG_DATA_SIZE.get.reply.encode({ stopCopyLength: migration.dataSize(served) });
    default:
      return dmaLog(served, request);
  }
}

/** DMA_LOGGING_REPORT. The bitmap has to fit into argsz and into a message. */
function dmaLog(served: ServedConnection, { argsz, data }: { argsz: number; data: Uint8Array }): Uint8Array {
  const { iova, length, pageSize } = features.DMA_LOGGING_REPORT.get.request.decode(data);
  const { logging, memory } = served.server;
  if (!logging.active) throw new ServerError('ERR_WRONG_STATE', 'DMA logging is off');
  const needed = FeatureHead.size + data.length + logging.reportSize(length, pageSize);
  const limit = Math.min(argsz, served.maxReply);
  if (needed > limit) {
    throw new ServerError('ERR_TOO_LONG', `the report takes ${needed} bytes, ${limit} are allowed`, {
      needed,
      limit,
    });
  }
  const bitmap = memory.dirtyLog.report(iova, length, pageSize);
  return features.DMA_LOGGING_REPORT.get.reply.encode({ iova, length, pageSize, bitmap });
}

function set(served: ServedConnection, message: IncomingMessage, id: number, data: Uint8Array): void {
  const { logging } = served.server;
  if (id === Feature.MIG_DEVICE_STATE) return setState(served, message, data);
  const echo = message.payload().slice();
  if (id === Feature.DMA_LOGGING_STOP) {
    logging.stop(served);
  } else {
    const wanted = features.DMA_LOGGING_START.set.request.decode(data);
    const pageSize = logging.start(wanted.pageSize, wanted.ranges, served);
    echo.set(features.DMA_LOGGING_START.set.reply.encode({ ...wanted, pageSize }), FeatureHead.size);
  }
  answer(served, message, echo);
}

/** SET MIG_DEVICE_STATE: the reply echoes the request, when the device has arrived. */
function setState(served: ServedConnection, message: IncomingMessage, data: Uint8Array): void {
  const { server } = served;
  const { deviceState } = features.MIG_DEVICE_STATE.set.request.decode(data);
  requireDriver(served);
  const echo = message.payload().slice();
  answerWhenDone(served, message, server.setState(deviceState, served), (to) => answer(served, to, echo));
}
