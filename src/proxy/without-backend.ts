import { Errno } from '../errors/index.ts';
import type { IncomingMessage } from '../transport/index.ts';
import type { ClientSide } from './client-side.ts';
import type { Observer } from './observer.ts';
import type { Unanswered, UnansweredRequest } from './unanswered.ts';
import type { WaitingCommands } from './waiting-commands.ts';

/** What a client has while there is no back end: what is recorded is answered, the rest waits, for a time. */
export class WithoutBackend {
  /** Posted writes that were dropped because there was no back end for too long. */
  droppedWrites = 0;
  readonly #client: ClientSide;
  readonly #observer: Observer;
  readonly #waiting: WaitingCommands;
  /** Somebody has waited too long: nobody waits any more. */
  #expired = false;

  constructor(client: ClientSide, observer: Observer, waiting: WaitingCommands) {
    this.#client = client;
    this.#observer = observer;
    this.#waiting = waiting;
  }

  /**
   * The back end has gone. What it has not answered comes before all that waits. `expired` is called when the client has
   * waited too long and what waited was refused.
   */
  begin(unanswered: Unanswered, expired: () => void): { repeated: number; failed: number } {
    let repeated = 0;
    let failed = 0;
    for (const request of unanswered.takeAll().reverse()) {
      const recorded = this.#observer.unanswered(request.id);
      if (recorded !== null) this.#client.reply({ ...request, noReply: false }, recorded);
      else if (this.#keep(request)) repeated += 1;
      else failed += 1;
    }
    this.#waiting.watch(() => {
      this.#expire();
      expired();
    });
    return { repeated, failed };
  }

  /** There is a back end again. */
  end(): void {
    this.#expired = false;
    this.#waiting.unwatch();
  }

  /** The client asks for something. */
  take(message: IncomingMessage): void {
    const own = this.#observer.answer(message) ?? this.#observer.withoutBackend(message);
    if (own !== null) this.#client.reply(message, own);
    else if (this.#expired) this.#refuse(message);
    else this.#waiting.push(message);
  }

  #keep({ id, command, bytes }: UnansweredRequest): boolean {
    if (bytes === null) this.#client.refuse({ id, command, noReply: false }, Errno.EIO);
    else this.#waiting.pushBack(bytes);
    return bytes !== null;
  }

  /** Nobody waits longer than a VMM does: what waits for a back end gets EIO. */
  #expire(): void {
    this.#expired = true;
    this.#waiting.giveUp((message) => this.#refuse(message));
  }

  #refuse(message: IncomingMessage): void {
    if (message.noReply) this.droppedWrites += 1;
    this.#client.refuse(message, Errno.EIO);
  }
}
