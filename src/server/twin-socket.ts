import { Errno } from '../errors/index.ts';
import { check } from '../native/index.ts';
import { MESSAGE_OVERHEAD } from '../protocol/index.ts';
import { Connection, type ConnectionRemains } from '../transport/index.ts';
import type { ServedConnection } from './served-connection.ts';

/** Never, as good as: how long a receive on the client's end may wait, in milliseconds (24 days). */
const NO_TIMEOUT_MS = 0x7fff_ffff;

/**
 * Opens the second socket on which the server sends its commands (capability twin_socket). `peer` is the client's end,
 * to be sent with the VERSION reply; `handOver` closes our copy of it once that has been sent. It blocks, as a socket
 * does that nobody has made non-blocking: that is what a client expects that has not asked for anything else.
 */
export function openTwin(served: ServedConnection): { readonly peer: number; handOver(): void } {
  const { native } = served.server;
  const pair = new Int32Array(2);
  check(native.socketpair(pair), 'socketpair');
  const [ours = -1, peer = -1] = pair;
  check(native.setBlocking(peer, NO_TIMEOUT_MS), 'setBlocking');
  served.twin = serveTwin(served, ours);
  return { peer, handOver: () => served.connection.whenDrained(() => native.close(peer)) };
}

/** Our end of that socket; `inherited` is what another process has left of it. */
export function serveTwin(
  served: ServedConnection,
  fd: number,
  inherited: ConnectionRemains | null = null,
): Connection {
  const { native, reactor, capabilities } = served.server;
  return new Connection({
    native,
    reactor,
    fd,
    maxMessage: capabilities.maxDataXferSize + MESSAGE_OVERHEAD,
    handler: {
      command: (message) => {
        served.twin?.replyError(message, Errno.EINVAL);
        return true;
      },
      closed: (reason) => served.connection.close(reason),
      report: (error) => served.server.report(error),
    },
    ...(inherited === null ? {} : { inherited }),
  });
}
