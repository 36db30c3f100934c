import { ferryInspect, ferryPrecopyInfo, PrecopyInfo } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import { inspect } from '../inspect.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { answer, requireV2 } from './handler.ts';

/** FERRY_PRECOPY_INFO: what the kernel answers to VFIO_MIG_GET_PRECOPY_INFO. */
export function handlePrecopyInfo(served: ServedConnection, message: IncomingMessage): boolean {
  requireAgreed(served.agreed?.precopyInfo, 'FERRY_PRECOPY_INFO');
  requireV2(served);
  ferryPrecopyInfo.request.decode(message.payload(), message.fds.length);
  const estimate = served.server.migration.precopyInfo(served);
  answer(served, message, ferryPrecopyInfo.reply.encode({ argsz: PrecopyInfo.size, flags: 0, ...estimate }));
  return true;
}

/** FERRY_INSPECT: what the server knows of itself, as JSON. Too small an argsz learns how large it must be. */
export function handleInspect(served: ServedConnection, message: IncomingMessage): boolean {
  requireAgreed(served.agreed?.inspect, 'FERRY_INSPECT');
  const { argsz } = ferryInspect.request.decode(message.payload(), message.fds.length);
  const report = inspect(served.server);
  const { length } = ferryInspect.reply.encode({ argsz: 0, flags: 0, report });
  const fits = length <= argsz && length <= served.maxReply;
  answer(
    served,
    message,
    ferryInspect.reply.encode({ argsz: length, flags: 0, report: fits ? report : null }),
  );
  return true;
}

/** @throws ServerError EINVAL when VERSION has not agreed on a command of ours */
export function requireAgreed(agreed: boolean | undefined, name: string): void {
  if (agreed !== true)
    throw new ServerError('ERR_UNKNOWN_COMMAND', `${name} was not agreed on`, { command: name });
}
