import {
  ClaimFlag,
  ClaimOperation,
  ClaimReply,
  ClaimRequestFlag,
  ferryClaim,
  fromHalves,
  type ValueOf,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { requireAgreed } from './extensions.ts';
import { answer } from './handler.ts';

/** FERRY_CLAIM: ties the device to a migration, and tells to which it is tied. */
export function handleClaim(served: ServedConnection, message: IncomingMessage): boolean {
  requireAgreed(served.agreed?.claim, 'FERRY_CLAIM');
  act(served, ferryClaim.request.decode(message.payload(), message.fds.length));
  answer(served, message, ferryClaim.reply.encode(replyTo(served)));
  return true;
}

function act(served: ServedConnection, request: ValueOf<typeof ferryClaim.request>): void {
  const { operation, epoch } = request;
  const { claims } = served.server;
  const token = fromHalves(request.tokenLow, request.tokenHigh);
  if (operation === ClaimOperation.CLAIM) claims.claim(token, epoch, served);
  else if (operation === ClaimOperation.RETIRE) claims.retire(token, epoch, served);
  else if (operation === ClaimOperation.RELEASE) {
    if ((request.flags & ClaimRequestFlag.FORCE) === 0) claims.release(token, epoch, served);
    else claims.force(epoch, served);
  }
}

function replyTo(served: ServedConnection) {
  const { view, yours, epoch, state, instance, resets } = served.server.claims.standing(served);
  const flags =
    (view === null ? 0 : ClaimFlag.CLAIMED) |
    (view?.retired === true ? ClaimFlag.RETIRED : 0) |
    (yours ? ClaimFlag.YOURS : 0);
  return {
    ...{ argsz: ClaimReply.size, flags, deviceState: state, reserved: 0, epoch, instance, resets },
    ...{ id: view?.id ?? 0n, since: BigInt(view?.sinceMs ?? 0) },
  };
}
