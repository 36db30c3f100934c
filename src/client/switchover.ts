import {
  type Agreement,
  Command,
  ferrySwitchover,
  SwitchoverFlag,
  SwitchoverOperation,
  SwitchoverReply,
} from '../protocol/index.ts';
import { ClientError } from './client-error.ts';
import type { Operation } from './operation.ts';

/** How a device stands while its VM is moved (FERRY_SWITCHOVER). */
export interface SwitchoverStatus {
  /** Interrupts stay pending. */
  readonly withheld: boolean;
  /** The device interrupts by INTx. */
  readonly intx: boolean;
  /** INTx has been signalled, and the VMM has not said that it is served. */
  readonly outstanding: boolean;
  /** Its DMA is logged. */
  readonly logging: boolean;
  /** Pages of 4096 bytes that were touched. */
  readonly pages: number;
}

/** What a server is asked for, and of which byte. */
export type SwitchoverRequest =
  | { readonly do: 'QUERY' | 'WITHHOLD' | 'TOUCH' }
  | { readonly do: 'SHIELD'; readonly region: number; readonly offset: bigint };

/** FERRY_SWITCHOVER. @throws ClientError when the server does not take it */
export function* switchover(agreement: Agreement, request: SwitchoverRequest): Operation<SwitchoverStatus> {
  if (!agreement.switchover) {
    throw new ClientError('ERR_NOT_NEGOTIATED', 'the server does not take FERRY_SWITCHOVER');
  }
  const { region, offset } = request.do === 'SHIELD' ? request : { region: 0, offset: 0n };
  const operation = SwitchoverOperation[request.do];
  const payload = ferrySwitchover.request.encode({
    ...{ argsz: SwitchoverReply.size, flags: 0, operation, region, offset },
  });
  const reply = yield { command: Command.FERRY_SWITCHOVER, payload };
  const { flags, pages } = ferrySwitchover.reply.decode(reply.payload());
  return {
    withheld: (flags & SwitchoverFlag.WITHHELD) !== 0,
    intx: (flags & SwitchoverFlag.INTX) !== 0,
    outstanding: (flags & SwitchoverFlag.OUTSTANDING) !== 0,
    logging: (flags & SwitchoverFlag.LOGGING) !== 0,
    pages: Number(pages),
  };
}
