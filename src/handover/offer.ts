import type { FerryError } from '../errors/index.ts';
import { type RunningServer, ServerError } from '../server/index.ts';
import { Giver } from './giver.ts';
import type { HandoverLimits } from './limits.ts';
import { rehearse } from './rehearsal.ts';

/** How a server hands its device over. */
export interface OfferOptions extends HandoverLimits {
  /** Why the device can't be handed over, which whoever asks is told; null, the default: nothing is known against it. */
  readonly obstacle?: string | null;
  /** Told of each hand-over that did not take place: the device has gone on here. */
  readonly kept?: (why: FerryError) => void;
}

/** A server that hands its device over to whoever asks on its control socket. */
export interface HandoverOffer {
  /** Settles when another process has the device: this one serves nobody any more, and should end. */
  readonly handedOver: Promise<void>;
}

/**
 * Lets another process of the same user take the device over, with its clients, on the control socket
 * (docs/live-upgrade.md). Without this a server refuses.
 */
export function offerHandover(
  { server, listeners }: Pick<RunningServer, 'server' | 'listeners'>,
  { kept = () => {}, obstacle = null, ...limits }: OfferOptions = {},
): HandoverOffer {
  let underWay = false;
  const handedOver = new Promise<void>((resolve) => {
    server.onHandover = (by, fd) => {
      if (underWay) {
        server.native.close(fd);
        throw new ServerError('ERR_BUSY', 'a hand-over is under way');
      }
      underWay = true;
      const over = (why: FerryError | null): void => {
        underWay = false;
        if (why === null) return resolve();
        server.log.warning(() => `the device is not handed over, and goes on here: ${why.message}`);
        kept(why);
      };
      try {
        const rehearsed = rehearse(server.native, server.reactor);
        new Giver({ server, listeners, by, fd, limits, obstacle, rehearsed, over });
      } catch (error) {
        underWay = false;
        throw error;
      }
    };
  });
  return { handedOver };
}
