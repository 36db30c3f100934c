import { Errno } from '../../errors/index.ts';
import { check } from '../../native/index.ts';
import { ferryHandover, HandoverReply } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { requireAgreed } from './extensions.ts';
import { answer } from './handler.ts';

/**
 * FERRY_HANDOVER: gives another process of the same user one end of a socket, and the other end to whoever hands the
 * device over. Refused with EOPNOTSUPP where nobody does, and with EBUSY while it is under way.
 */
export function handleHandover(served: ServedConnection, message: IncomingMessage): boolean {
  requireAgreed(served.agreed?.handover, 'FERRY_HANDOVER');
  ferryHandover.request.decode(message.payload(), message.fds.length);
  const { server } = served;
  requireSameUser(served);
  const { onHandover } = server;
  if (onHandover === null) {
    throw new ServerError(
      'ERR_NOT_SUPPORTED',
      'nobody hands this device over',
      {},
      { errno: Errno.EOPNOTSUPP },
    );
  }
  const pair = new Int32Array(2);
  check(server.native.socketpair(pair), 'socketpair');
  const [ours = -1, theirs = -1] = pair;
  try {
    onHandover(served, ours);
  } catch (error) {
    server.native.close(theirs);
    throw error;
  }
  answer(served, message, ferryHandover.reply.encode({ argsz: HandoverReply.size, flags: 0 }), [theirs]);
  served.connection.whenDrained(() => server.native.close(theirs));
  return true;
}

/** Who may open the control socket may ask, if it is the same user: what is handed over is all that a process has. */
function requireSameUser({ server, connection }: ServedConnection): void {
  const peer = new Int32Array(3);
  check(server.native.peerCredentials(connection.fd, peer), 'peerCredentials');
  const uid = (peer[1] ?? -1) >>> 0;
  if (uid === process.geteuid?.() || uid === 0) return;
  throw new ServerError(
    'ERR_WRONG_SOCKET',
    'a device is handed over to a process of the same user only',
    { uid },
    { errno: Errno.EPERM },
  );
}
