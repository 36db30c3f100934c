import { Errno, FerryError } from '../errors/index.ts';
import { HeaderFlag, MessageType } from '../protocol/index.ts';
import { handlerBug } from './connection-errors.ts';
import type { ConnectionHandler } from './connection-options.ts';
import type { IncomingMessage, ReplyTicket } from './incoming-message.ts';
import type { Outbox } from './outbox.ts';

/** Has commands handled, and begins the replies to them: also to those whose handler throws. */
export class Answers {
  readonly #handler: ConnectionHandler;
  readonly #outbox: Outbox;
  /** The command whose handler runs, or null. */
  #current: ReplyTicket | null = null;
  /** Where its reply begins in the stream, to take it back if the handler throws; -1: not begun. */
  #replyAt = -1;

  constructor(handler: ConnectionHandler, outbox: Outbox) {
    this.#handler = handler;
    this.#outbox = outbox;
  }

  /** Begins a reply with a payload of `payloadSize` bytes; returns where it goes, -1 when nothing is to be sent. */
  reply(to: ReplyTicket, payloadSize: number): number {
    if (to.noReply) return -1;
    const at = this.#outbox.begin(to.id, to.command, MessageType.REPLY, 0, payloadSize);
    if (at >= 0 && this.#current?.id === to.id) this.#replyAt = this.#outbox.buffer.newest;
    return at;
  }

  /** Answers with an errno: a header and nothing else, as the specification asks. */
  replyError(to: ReplyTicket, errno: number): void {
    if (to.noReply) return;
    this.#outbox.begin(to.id, to.command, MessageType.REPLY | HeaderFlag.ERROR, errno, 0);
  }

  /** Hands a command to the handler, and answers what that throws; false: the handler wants the command parked. */
  handle(message: IncomingMessage): boolean {
    let handled = true;
    this.#replyAt = -1;
    this.#current = message;
    try {
      handled = this.#handler.command(message);
    } catch (error) {
      this.#fail(error, message);
    }
    this.#current = null;
    return handled;
  }

  /** Answers with the error, unless an answer is on its way already. */
  #fail(error: unknown, message: IncomingMessage): void {
    const errno = error instanceof FerryError ? error.errno : Errno.EIO;
    const answered = this.#replyAt >= 0 && !this.#outbox.buffer.cancel(this.#replyAt);
    if (!(error instanceof FerryError)) this.#handler.report(handlerBug(error, message));
    else if (answered) this.#handler.report(error);
    if (!answered) this.replyError(message, errno);
  }
}
