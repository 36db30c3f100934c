import {
  ferryReconnection,
  ReconnectionFlag,
  ReconnectionOperation,
  ReconnectionReply,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { requireAgreed } from './extensions.ts';
import { answer, answerWhenDone } from './handler.ts';

const NOTHING = new Uint8Array(0);

/** FERRY_RECONNECTION: what becomes of the state when the VMM comes back. */
export function handleReconnection(served: ServedConnection, message: IncomingMessage): boolean {
  requireAgreed(served.agreed?.reconnection, 'FERRY_RECONNECTION');
  const { operation, argsz } = ferryReconnection.request.decode(message.payload(), message.fds.length);
  answerWhenDone(served, message, act(served, operation), (to) => {
    const whole = replyTo(served, true);
    answer(served, to, whole.length <= Math.min(argsz, served.maxReply) ? whole : replyTo(served, false));
  });
  return true;
}

function act(served: ServedConnection, operation: number): void | Promise<void> {
  const { reconnection, main } = served.server;
  if (operation === ReconnectionOperation.KEEP) return reconnection.keep(served, main === null);
  if (operation === ReconnectionOperation.RESET) return reconnection.reset(served);
  if (operation === ReconnectionOperation.CONTINUE) return reconnection.continue(served);
}

function replyTo({ server }: ServedConnection, withConfiguration: boolean): Uint8Array {
  const { reconnection, migration } = server;
  const { view, policy } = reconnection;
  const configuration = view?.configuration ?? NOTHING;
  return ferryReconnection.reply.encode({
    argsz: ReconnectionReply.size + configuration.length,
    flags:
      (policy === 'keep' ? ReconnectionFlag.KEEP : 0) |
      (view === null ? 0 : ReconnectionFlag.KEPT) |
      (view?.returned === true ? ReconnectionFlag.RETURNED : 0),
    deviceState: migration.state,
    withheldResets: view?.withheldResets ?? 0,
    since: BigInt(view?.sinceMs ?? 0),
    configuration: withConfiguration ? configuration : NOTHING,
  });
}
