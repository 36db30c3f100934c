import { Errno, errnoName } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import {
  acceptReply,
  Command,
  ferryHandover,
  HandoverReply,
  OUR_CAPABILITIES,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  version,
} from '../protocol/index.ts';
import { Connection, connect, type IncomingMessage, type Reactor } from '../transport/index.ts';
import { HandoverError } from './handover-error.ts';
import { request } from './request.ts';

/** A server whose device may be taken over. */
export interface Door {
  /** The socket on which the two processes talk about it. The caller's. */
  readonly fd: number;
  /** Ends the connection to its control socket, in whose name it hands over. */
  close(): void;
}

/** The longest message that a server sends before it hands over. */
const MAX_MESSAGE = 64 * 1024;

const { twinSocket: _, ...capabilities } = OUR_CAPABILITIES;
const proposal = { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, capabilities };

/**
 * Asks the server behind a control socket for its device. Throws TransportError ERR_SOCKET where nobody listens,
 * HandoverError ERR_HANDOVER_REFUSED where nothing is handed over.
 */
export async function knock(
  native: Native,
  reactor: Reactor,
  path: string,
  timeoutMs: number,
): Promise<Door> {
  const connection = new Connection({
    ...{ native, reactor, fd: connect(native, path), maxMessage: MAX_MESSAGE },
    handler: { command: () => true, closed: () => {}, report: () => {} },
  });
  try {
    const fd = await ask(connection, timeoutMs);
    return { fd, close: () => connection.close() };
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function ask(connection: Connection, timeoutMs: number): Promise<number> {
  const greeting = { command: Command.VERSION, payload: version.request.encode(proposal), timeoutMs };
  const agreed = await request(connection, greeting, (reply) =>
    acceptReply(proposal, version.reply.decode(accepted(reply).payload()), reply.fds.length),
  );
  if (!agreed.handover) throw refused('it does not know how to: it is older, or not of Ferry');
  const payload = ferryHandover.request.encode({ argsz: HandoverReply.size, flags: 0 });
  const question = { command: Command.FERRY_HANDOVER, payload, timeoutMs };
  const fd = await request(connection, question, (reply) => accepted(reply).fds.shift());
  if (fd === undefined) throw refused('it gave nothing to talk over');
  return fd;
}

function accepted(reply: IncomingMessage): IncomingMessage {
  if (reply.failed) throw refused(WHY.get(reply.error) ?? errnoName(reply.error), reply.error);
  return reply;
}

const WHY: ReadonlyMap<number, string> = new Map([
  [
    Errno.EOPNOTSUPP,
    'it is served on a thread of its own (--dedicated), or by a program that hands nothing over',
  ],
  [Errno.EPERM, 'it belongs to another user'],
  [Errno.EBUSY, 'a hand-over is under way, or it has too many control connections'],
]);

function refused(why: string, errno: number = Errno.EOPNOTSUPP): HandoverError {
  const message = `the running server does not hand its device over: ${why}`;
  return new HandoverError('ERR_HANDOVER_REFUSED', message, {}, { errno });
}
