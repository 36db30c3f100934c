import type { Native } from '../native/index.ts';
import {
  type Agreement,
  acceptReply,
  type Capabilities,
  Command,
  OUR_CAPABILITIES,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  ProtocolError,
  type Version,
  version,
} from '../protocol/index.ts';
import type { Operation } from './operation.ts';

/** What VERSION led to. */
export interface Negotiated {
  readonly agreement: Agreement;
  /** The second socket, which is the caller's; null when none was agreed. */
  readonly twin: number | null;
}

/** The largest single access of a register; a server that takes less can't be driven. */
const MIN_TRANSFER = 8;

/** What a client proposes: what this version supports, with `overrides`, and a twin socket only if it is wanted. */
export function proposalOf(overrides: Capabilities, twinSocket: boolean): Version {
  const { twinSocket: _, ...capabilities } = { ...OUR_CAPABILITIES, ...overrides };
  return {
    major: PROTOCOL_MAJOR,
    minor: PROTOCOL_MINOR,
    capabilities: twinSocket ? { ...capabilities, twinSocket: { supported: true } } : capabilities,
  };
}

/**
 * VERSION, the first command of a connection. Throws ProtocolError ERR_PROTOCOL_VERSION when the reply does not fit the
 * proposal; the connection is then of no use.
 */
export function* negotiateVersion(native: Native, proposal: Version): Operation<Negotiated> {
  const message = yield { command: Command.VERSION, payload: version.request.encode(proposal) };
  const reply = version.reply.decode(message.payload());
  const agreement = acceptReply(proposal, reply, message.fds.length);
  if (Math.min(agreement.send.maxDataXferSize, agreement.receive.maxDataXferSize) < MIN_TRANSFER) {
    throw new ProtocolError(
      `VERSION: fewer than ${MIN_TRANSFER} bytes in one message are too few for a register`,
      {
        code: 'ERR_PROTOCOL_VERSION',
      },
    );
  }
  if (!agreement.twinSocket) return { agreement, twin: null };
  const fds = message.takeFds();
  const [twin] = fds.splice(reply.capabilities?.twinSocket?.fdIndex ?? 0, 1);
  for (const fd of fds) native.close(fd);
  return { agreement, twin: twin ?? null };
}
