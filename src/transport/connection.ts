import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { commandName, HeaderFlag, MessageType } from '../protocol/index.ts';
import { Answers } from './answers.ts';
import { queueFull } from './connection-errors.ts';
import type { ConnectionHandler, ConnectionOptions, ConnectionRemains } from './connection-options.ts';
import type { HeldMessage } from './held-messages.ts';
import { Inbox } from './inbox.ts';
import type { IncomingMessage, ReplyTicket } from './incoming-message.ts';
import { Outbox } from './outbox.ts';
import { type Completion, PendingRequests } from './pending-requests.ts';
import type { SocketPort } from './reactor.ts';
import type { SendBuffer } from './send-buffer.ts';
import { TransportError } from './transport-error.ts';

/** Room in the kernel for some of the longest messages, so that one takes one send; the system may grant less. */
const MESSAGES_IN_SOCKET = 4;

/**
 * Messages over one UNIX stream socket, both ways, for either side of the protocol. Knows headers, ids, fds and
 * order; knows no command. Replies and requests are gathered while received messages are handled, and sent with one
 * system call.
 */
export class Connection {
  readonly fd: number;
  /** Where replies and requests are built: see {@link reply} and {@link request}. */
  readonly out: SendBuffer;
  readonly #native: Native;
  readonly #handler: ConnectionHandler;
  readonly #port: SocketPort;
  readonly #pending: PendingRequests;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #answers: Answers;
  #closed: FerryError | null = null;

  constructor(options: ConnectionOptions) {
    const { native, reactor, fd, handler, maxMessage, inherited, memory } = options;
    this.fd = fd;
    this.#native = native;
    this.#handler = handler;
    native.setSendBuffer(fd, MESSAGES_IN_SOCKET * maxMessage);
    const ended = (reason: FerryError): void => this.close(reason);
    this.#outbox = new Outbox({ native, reactor, fd, maxMessage, prepared: memory?.sent, failed: ended });
    this.out = this.#outbox.buffer;
    this.#pending = new PendingRequests(reactor, commandName);
    this.#answers = new Answers(handler, this.#outbox);
    this.#inbox = new Inbox({
      ...{ native, maxMessage, unread: inherited?.unread, prepared: memory?.received, ended },
      ...{ report: (error) => handler.report(error) },
      ...{ answers: this.#answers, outbox: this.#outbox, pending: this.#pending },
    });
    try {
      if (inherited !== undefined) this.#inherit(inherited);
      this.#port = this.#open(options);
      if (inherited !== undefined) this.#stopAll();
    } catch (error) {
      native.close(fd);
      throw error;
    }
  }

  /** Why the connection is over, or null while it lives. */
  get closedBecause(): FerryError | null {
    return this.#closed;
  }

  /** Requests of ours that are not answered yet. */
  get outstanding(): number {
    return this.#pending.size;
  }

  /** Commands that wait because the connection is held. */
  get heldCommands(): number {
    return this.#inbox.waiting;
  }

  /** Since when (performance.now()) a peer may wait for the reply to a command that is held; null when it does not. */
  get heldSince(): number | null {
    return this.#inbox.owedSince;
  }

  /** Whether commands wait. */
  get holding(): boolean {
    return this.#inbox.holding;
  }

  /**
   * Begins the reply to `to` with `payloadSize` bytes, which the caller writes to `out.bytes` from the returned
   * offset. Returns -1 when nothing is to be sent (a posted command, a closed connection).
   */
  reply(to: ReplyTicket, payloadSize: number): number {
    return this.#answers.reply(to, payloadSize);
  }

  /** Answers with an errno: a header and nothing else, as the specification asks. */
  replyError(to: ReplyTicket, errno: number): void {
    this.#answers.replyError(to, errno);
  }

  /** Keeps what is needed to answer `message` after its handler has returned. */
  ticket(message: IncomingMessage): ReplyTicket {
    return { id: message.id, command: message.command, noReply: message.noReply };
  }

  /** Attaches fds to the message begun last; they stay the caller's and must stay open while it waits to be sent. */
  attachFds(fds: readonly number[]): void {
    this.out.attachFds(fds);
  }

  /**
   * Begins a request with `payloadSize` bytes, which the caller writes to `out.bytes` from the returned offset.
   * `complete` is called once, with the reply or the error; null posts the command (No_reply).
   * @throws TransportError ERR_CONNECTION_CLOSED, ERR_SEND_QUEUE_FULL (see {@link whenDrained})
   */
  request(command: number, payloadSize: number, timeoutMs: number, complete: Completion | null): number {
    if (this.#closed !== null) throw this.#closed;
    if (this.#pending.full) throw queueFull(command);
    const id = this.#pending.allocateId();
    const flags = complete === null ? HeaderFlag.NO_REPLY : 0;
    const at = this.#outbox.begin(id, command, MessageType.COMMAND | flags, 0, payloadSize);
    if (at < 0) throw this.#closed ?? queueFull(command);
    if (complete !== null) this.#pending.add(id, command, timeoutMs, complete);
    return at;
  }

  /** Sends what was begun, and `body` as the tail of the newest message, without copying it if that can be helped. */
  sendBody(body: Uint8Array): void {
    this.#outbox.sendBody(body);
  }

  /** Whether a message of this size can be begun now. */
  hasRoom(payloadSize: number): boolean {
    return this.out.fits(payloadSize) && !this.#pending.full;
  }

  /** Calls `run` when everything has been sent, or when the connection is over. */
  whenDrained(run: () => void): void {
    this.#outbox.whenDrained(run);
  }

  /** Sends what was begun now. Needed only by who can't wait for the end of the current callback. */
  flush(): void {
    this.#outbox.flush();
  }

  /** From now on commands wait; replies are still matched. */
  hold(): void {
    this.#inbox.hold();
  }

  /** Handles the commands that waited, in order, and goes on. A handler that parks one holds the connection again. */
  release(): void {
    this.#inbox.release();
  }

  /**
   * From now on nothing is received, handled or sent, until {@link thaw}: another process may go on with the socket. What
   * can be sent now is sent before.
   */
  freeze(): void {
    this.#outbox.flush();
    // That may have found out that the peer has gone.
    if (this.#closed === null) this.#stopAll();
  }

  /** Goes on where {@link freeze} has stopped, or another process has. */
  thaw(): void {
    if (!this.#inbox.thaw()) return;
    this.#outbox.thaw();
    this.#inbox.handleAll();
  }

  /**
   * Why another process can't go on with this connection now; null when it can. All reasons pass by themselves, unless
   * the peer has ceased to read or to answer.
   */
  get unfinished(): string | null {
    if (this.#pending.size > 0) return 'a request of ours is not answered yet';
    if (this.out.cutsHeader) return 'the client has read only part of a header';
    if (this.#outbox.awaited && this.out.pending > 0) return 'the client has not read what it was sent';
    if (this.#inbox.skipping) return 'the client is in the middle of a message that is too long';
    return null;
  }

  /** What another process needs to go on; of a connection that is frozen. Fds stay open here, and are not copied. */
  remains(): ConnectionRemains {
    return { unread: this.#inbox.remains(), unsent: this.out.remains(), ids: this.#pending.usedIds() };
  }

  /** Lets go of the socket, which another process goes on with: nobody is told. */
  abandon(): void {
    if (this.#closed !== null) return;
    this.#closed = new TransportError('ERR_CONNECTION_CLOSED', 'another process goes on with the connection');
    this.#outbox.shut();
    this.#port.close();
    this.#inbox.shut();
    this.#inbox.dropHeld();
    this.#pending.forget();
    this.#native.close(this.fd);
  }

  /** Takes the commands that wait away from the connection, for an owner that outlives it. */
  takeHeld(): HeldMessage[] {
    return this.#inbox.takeHeld();
  }

  /** Ends the connection: requests in flight fail with `reason`, fds are closed. Safe anywhere, also repeated. */
  close(reason: FerryError = new TransportError('ERR_CONNECTION_CLOSED', 'the connection was closed')): void {
    if (this.#closed !== null) return;
    this.#closed = reason;
    const waiting = this.#outbox.shut();
    this.#port.close();
    this.#inbox.shut();
    this.#native.close(this.fd);
    this.#pending.failAll(reason);
    for (const run of waiting) run();
    this.#handler.closed(reason);
    this.#inbox.dropHeld();
  }

  #open({ reactor, fd }: ConnectionOptions): SocketPort {
    const port = reactor.open(
      fd,
      { rx: this.#inbox.bytes, tx: this.out.bytes, fds: this.#inbox.fds, control: this.out.control },
      { received: (result) => this.#inbox.received(result), writable: () => this.#inbox.writable() },
    );
    this.#inbox.serve(port);
    this.#outbox.serve(port);
    return port;
  }

  #inherit({ unsent, ids }: ConnectionRemains): void {
    if (!this.out.adopt(unsent)) {
      throw new TransportError(
        'ERR_FRAMING',
        'what is left of the connection does not fit, or is no messages',
      );
    }
    this.#pending.adopt(ids);
    // Lent to the one message that they go with.
    const lent = unsent.fdMarks.flatMap(({ fds }) => fds);
    if (lent.length > 0)
      this.#outbox.whenDrained(() => {
        for (const fd of lent) this.#native.close(fd);
      });
  }

  #stopAll(): void {
    this.#outbox.freeze();
    this.#inbox.freeze();
  }
}
