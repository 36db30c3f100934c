import { Errno } from '../errors/index.ts';
import { check } from '../native/index.ts';
import { MESSAGE_OVERHEAD } from '../protocol/index.ts';
import { Connection } from '../transport/index.ts';
import type { ServedConnection } from './served-connection.ts';

/**
 * Opens the second socket on which the server sends its commands (capability twin_socket). `peer` is the client's end,
 * to be sent with the VERSION reply; `handOver` closes our copy of it once that has been sent.
 */
export function openTwin(served: ServedConnection): { readonly peer: number; handOver(): void } {
  const { native, reactor, capabilities } = served.server;
  const pair = new Int32Array(2);
  check(native.socketpair(pair), 'socketpair');
  const [ours = -1, peer = -1] = pair;
  served.twin = new Connection({
    native,
    reactor,
    fd: ours,
    maxMessage: capabilities.maxDataXferSize + MESSAGE_OVERHEAD,
    handler: {
      command: (message) => {
        served.twin?.replyError(message, Errno.EINVAL);
        return true;
      },
      closed: (reason) => served.connection.close(reason),
      report: (error) => served.server.report(error),
    },
  });
  return { peer, handOver: () => served.connection.whenDrained(() => native.close(peer)) };
}
