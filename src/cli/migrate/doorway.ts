import type { Channel } from '../../channel/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';

/** Which migration a channel is for. */
type MigrationName = Pick<Channel['peer'], 'group' | 'epoch'>;

/** Whoever waits for a channel. */
interface Guest {
  readonly taken: (channel: Channel) => void;
  readonly refused: (error: Error) => void;
}

/** Where senders come in: one migration at a time, over one channel at a time. */
export class Doorway {
  #inside: MigrationName | null = null;
  #channel: Channel | null = null;
  #arrived: Channel | null = null;
  #guest: Guest | null = null;
  #closed: Error | null = null;

  /** Nobody is let in any more. */
  get closed(): boolean {
    return this.#closed !== null;
  }

  /** Somebody has come. A sender that comes back takes the place of the channel that it has lost. */
  accept(channel: Channel): void {
    const known = this.#inside;
    const returns =
      known !== null && known.group === channel.peer.group && known.epoch === channel.peer.epoch;
    if (this.#closed !== null || (known !== null && !returns) || (known === null && this.#arrived !== null)) {
      channel.abort('the receiver is at work with another migration');
      return;
    }
    if (returns) {
      this.#arrived?.abort('the sender has come again');
      this.#channel?.abort('the sender has come again');
    }
    this.#arrived = channel;
    this.#serve();
  }

  /** The channel of the next migration, whichever it is. Rejects once closed. */
  first(): Promise<Channel> {
    this.#inside = null;
    this.#channel = null;
    return this.#next();
  }

  /** Another channel of the migration that is inside. Rejects once closed, and when `signal` aborts. */
  again(signal: AbortSignal): Promise<Channel> {
    signal.addEventListener('abort', () => this.#refuse(gone('it was not waited for any longer')));
    return this.#next();
  }

  /** Gives up the channel that is in use, and lets nobody in any more. */
  cancel(why: string): void {
    this.close(why);
    this.#channel?.abort(why);
  }

  /** Lets nobody in any more. */
  close(why: string): void {
    this.#closed ??= gone(why);
    this.#arrived?.abort(why);
    this.#refuse(this.#closed);
  }

  #next(): Promise<Channel> {
    return new Promise((taken, refused) => {
      this.#guest = { taken, refused };
      if (this.#closed === null) this.#serve();
      else this.#refuse(this.#closed);
    });
  }

  #serve(): void {
    const [guest, channel] = [this.#guest, this.#arrived];
    if (guest === null || channel === null) return;
    this.#guest = null;
    this.#arrived = null;
    this.#channel = channel;
    this.#inside = channel.peer;
    guest.taken(channel);
  }

  #refuse(error: Error): void {
    const guest = this.#guest;
    this.#guest = null;
    guest?.refused(error);
  }
}

function gone(why: string): FerryError {
  return new FerryError('ERR_CANCELLED', why, { errno: Errno.ECANCELED });
}
