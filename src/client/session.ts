import type { Native } from '../native/index.ts';
import {
  type Agreement,
  DEFAULT_MAX_DATA_XFER_SIZE,
  HEADER_SIZE,
  OUR_CAPABILITIES,
} from '../protocol/index.ts';
import type { Reactor } from '../transport/index.ts';
import { type ClientOptions, DEFAULT_TIMEOUT_MS } from './client-options.ts';
import { Link } from './link.ts';
import { mapMemory } from './memory-mapping.ts';
import { negotiateVersion, proposalOf } from './negotiation.ts';
import type { Operation } from './operation.ts';
import { limitsOf, type TransferLimits } from './transfer-limits.ts';

/** A connection to a server with which VERSION has been settled. */
export interface Session {
  readonly link: Link;
  readonly agreement: Agreement;
  readonly limits: TransferLimits;
}

/** Connects to a server; nothing has been said yet. Throws TransportError ERR_SOCKET. */
export function openLink(path: string, options: ClientOptions, native: Native, reactor: Reactor): Link {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, report = () => {} } = options;
  const { maxDataXferSize = DEFAULT_MAX_DATA_XFER_SIZE } = { ...OUR_CAPABILITIES, ...options.capabilities };
  return new Link({ native, reactor, path, timeoutMs, maxDataXferSize, report });
}

/** VERSION, the twin socket if there is one, and the guest memory of the options. */
export function* openSession(link: Link, options: ClientOptions): Operation<Session> {
  const proposal = proposalOf(options.capabilities ?? {}, options.twinSocket ?? false);
  const { agreement, twin } = yield* negotiateVersion(link.native, proposal);
  if (twin !== null) link.addTwin(twin);
  const limits = limitsOf(agreement, link.maxMessage - HEADER_SIZE, options.maxWrite);
  for (const region of options.memory?.regions ?? []) yield* mapMemory(limits, link.memory, region);
  return { link, agreement, limits };
}
