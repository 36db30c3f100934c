import { FerryError } from '../../errors/index.ts';
import {
  type Capabilities,
  ConfigurationMode,
  negotiate,
  type Version,
  version,
} from '../../protocol/index.ts';
import type { IncomingMessage, ReplyTicket } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { openTwin } from '../twin-socket.ts';
import { answer } from './handler.ts';

/** VERSION: the first command, and only once. A client that can't be served is told why, and then dismissed. */
export function handleVersion(served: ServedConnection, message: IncomingMessage): boolean {
  if (served.agreed !== null) throw new ServerError('ERR_HANDSHAKE', 'VERSION was said already');
  const ticket = served.connection.ticket(message);
  try {
    const { server } = served;
    const proposal = version.request.decode(message.payload(), message.fds.length);
    const { reply, agreed } = negotiate(proposal, offeredTo(served, proposal));
    server.admit(served, (refusal) => {
      if (refusal !== null) return refuse(served, ticket, refusal);
      const twin = agreed.twinSocket ? openTwin(served) : null;
      served.welcome(agreed);
      answer(served, ticket, version.reply.encode(reply), twin === null ? [] : [twin.peer]);
      twin?.handOver();
    });
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    refuse(served, ticket, error);
  }
  return true;
}

/** A second socket is for a VMM that takes descriptors; the rest of what is ours is for the control socket. */
function offeredTo({ role, server }: ServedConnection, proposal: Version): Capabilities {
  const { capabilities, device } = server;
  const { ferry } = capabilities;
  const mayTwin = role === 'main' && proposal.capabilities?.maxMsgFds !== 0;
  const configuration = device.migration.configuration ?? ConfigurationMode.IN_STATE;
  return {
    ...capabilities,
    ...(mayTwin ? {} : { twinSocket: { supported: false } }),
    ...(ferry === undefined
      ? {}
      : {
          ferry: {
            ...ferry,
            configuration,
            ...(role === 'main' && { claim: false, switchover: false, reconnection: false, handover: false }),
          },
        }),
  };
}

function refuse(served: ServedConnection, ticket: ReplyTicket, why: FerryError): void {
  served.connection.replyError(ticket, why.errno);
  served.dismiss(why);
}
