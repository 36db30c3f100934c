import {
  ferrySwitchover,
  RegionIndex,
  SwitchoverFlag,
  SwitchoverOperation,
  SwitchoverReply,
  type ValueOf,
} from '../../protocol/index.ts';
import { isRunning, stateName } from '../../states/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { requireAgreed } from './extensions.ts';
import { answer, answerWhenDone } from './handler.ts';
import { regionAt } from './region.ts';

/** FERRY_SWITCHOVER: what whoever moves a VM asks of a device that the VMM does not move. */
export function handleSwitchover(served: ServedConnection, message: IncomingMessage): boolean {
  requireAgreed(served.agreed?.switchover, 'FERRY_SWITCHOVER');
  const request = ferrySwitchover.request.decode(message.payload(), message.fds.length);
  let pages = 0;
  const touching = act(served, request)?.then((touched) => {
    pages = touched;
  });
  answerWhenDone(served, message, touching, (to) => answer(served, to, replyTo(served, pages)));
  return true;
}

function act(
  served: ServedConnection,
  request: ValueOf<typeof ferrySwitchover.request>,
): Promise<number> | undefined {
  const { server } = served;
  if (request.operation === SwitchoverOperation.QUERY) return undefined;
  server.migration.requireMay('reset', served);
  if (request.operation === SwitchoverOperation.TOUCH) {
    requireStopped(served);
    return server.switchover.touch();
  }
  const shielded = request.operation === SwitchoverOperation.SHIELD;
  server.switchover.withhold(served, shielded ? shieldOf(served, request) : null);
  return undefined;
}

/** A page that the device or the guest writes meanwhile would lose what is written. */
function requireStopped({ server }: ServedConnection): void {
  const { state } = server.migration;
  if (!isRunning(state) && server.hold.active) return;
  throw new ServerError('ERR_WRONG_STATE', `pages can't be touched in ${stateName(state)}`);
}

function shieldOf(
  served: ServedConnection,
  { region, offset }: ValueOf<typeof ferrySwitchover.request>,
): { region: number; offset: number } {
  const { size } = regionAt(served, region);
  if (region !== RegionIndex.CONFIG && offset < BigInt(size)) return { region, offset: Number(offset) };
  throw new ServerError('ERR_BAD_RANGE', `region ${region} has no byte ${offset} that can be shielded`);
}

function replyTo({ server }: ServedConnection, pages: number): Uint8Array {
  const { withheld, intx, outstanding } = server.switchover;
  const flags =
    (withheld ? SwitchoverFlag.WITHHELD : 0) |
    (intx ? SwitchoverFlag.INTX : 0) |
    (outstanding ? SwitchoverFlag.OUTSTANDING : 0) |
    (server.logging.active ? SwitchoverFlag.LOGGING : 0);
  return ferrySwitchover.reply.encode({ argsz: SwitchoverReply.size, flags, pages: BigInt(pages) });
}
