import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { encodeHeader, HEADER_SIZE, MessageType } from '../protocol/index.ts';
import type { RelayTap } from '../relay/index.ts';
import type { IncomingMessage, Reactor, ReplyTicket } from '../transport/index.ts';
import { Link } from './link.ts';

/** What the client's side of a session is made of. */
export interface ClientSideOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** The client's socket; the side's from now on. */
  readonly fd: number;
  readonly tap: RelayTap | null;
  readonly message: (message: IncomingMessage) => void;
  readonly handled: () => void;
  readonly ended: (reason: FerryError) => void;
}

/** The connection to a proxy's client, and who looks on at it. */
export class ClientSide {
  readonly link: Link;
  readonly #tap: RelayTap | null;

  constructor({ native, reactor, fd, tap, message, handled, ended }: ClientSideOptions) {
    this.#tap = tap;
    this.link = new Link({
      ...{ native, reactor, fd },
      events: {
        message: (each) => {
          this.#see('client', each);
          message(each);
        },
        handled,
        ended: (reason) => {
          tap?.ended('client', { kind: 'end of stream' }, performance.now());
          ended(reason);
        },
      },
    });
  }

  /** A message of the back end goes to the client as it is. */
  forward(message: IncomingMessage): void {
    this.#see('server', message);
    this.link.forward(message);
  }

  /** Answers a command of the client with this payload. */
  reply({ id, command, noReply }: ReplyTicket, payload: Uint8Array): void {
    if (noReply) return;
    this.link.reply({ id, command }, payload);
    if (this.#tap === null) return;
    const size = HEADER_SIZE + payload.length;
    const header = encodeHeader({ messageId: id, command, size, flags: MessageType.REPLY, error: 0 });
    this.#tap.passed('server', Buffer.concat([header, payload]), [], performance.now());
  }

  /** Refuses a command of the client. */
  refuse({ id, command, noReply }: ReplyTicket, errno: number): void {
    if (!noReply) this.link.replyError({ id, command }, errno);
  }

  #see(from: 'client' | 'server', { bytes, start, end, fds }: IncomingMessage): void {
    if (this.#tap === null) return;
    this.#tap.passed(from, bytes.subarray(start - HEADER_SIZE, end), fds, performance.now());
  }
}
