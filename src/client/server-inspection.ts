import {
  type Agreement,
  Command,
  ferryInspect,
  ferryPrecopyInfo,
  PrecopyInfo as PrecopyInfoLayout,
} from '../protocol/index.ts';
import type { PrecopyInfo } from './descriptions.ts';
import type { Operation } from './operation.ts';
import type { TransferLimits } from './transfer-limits.ts';

/** FERRY_PRECOPY_INFO; null, and nothing is sent, to a server that has not agreed to it. */
export function* precopyInfo(agreement: Agreement): Operation<PrecopyInfo | null> {
  if (!agreement.precopyInfo) return null;
  const payload = ferryPrecopyInfo.request.encode({ argsz: PrecopyInfoLayout.size, flags: 0 });
  const reply = yield { command: Command.FERRY_PRECOPY_INFO, payload };
  const { initialBytes, dirtyBytes } = ferryPrecopyInfo.reply.decode(reply.payload());
  return { initialBytes, dirtyBytes };
}

/** FERRY_INSPECT; null, and nothing is sent, to a server that has not agreed to it. */
export function* inspectServer(agreement: Agreement, limits: TransferLimits): Operation<unknown> {
  if (!agreement.inspect) return null;
  const payload = ferryInspect.request.encode({ argsz: limits.reply, flags: 0 });
  const reply = yield { command: Command.FERRY_INSPECT, payload };
  return ferryInspect.reply.decode(reply.payload()).report;
}
