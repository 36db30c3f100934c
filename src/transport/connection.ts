import { Errno, FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { commandName, HEADER_SIZE, HeaderFlag, MessageType } from '../protocol/index.ts';
import {
  brokenStream,
  endOfStream,
  handlerBug,
  queueFull,
  tooManyFds,
  unexpectedReply,
} from './connection-errors.ts';
import type { ConnectionHandler, ConnectionOptions, ConnectionRemains } from './connection-options.ts';
import { Framer, type UnreadBytes } from './framer.ts';
import { type HeldMessage, HeldMessages } from './held-messages.ts';
import { IncomingMessage, type ReplyTicket } from './incoming-message.ts';
import { Outbox } from './outbox.ts';
import { type Completion, PendingRequests } from './pending-requests.ts';
import type { SocketPort } from './reactor.ts';
import type { SendBuffer } from './send-buffer.ts';
import { TransportError } from './transport-error.ts';

/** The most fds that one message can bring (SCM_MAX_FD of the kernel). */
const MAX_FDS = 253;

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
  readonly #framer: Framer;
  readonly #fds = new Int32Array(1 + MAX_FDS);
  readonly #port: SocketPort;
  readonly #message = new IncomingMessage();
  readonly #pending: PendingRequests;
  readonly #held = new HeldMessages();
  readonly #outbox: Outbox;
  #holding = false;
  /** The command whose handler runs, or null. */
  #current: ReplyTicket | null = null;
  /** Where its reply begins in the stream, to take it back if the handler throws; -1: not begun. */
  #replyAt = -1;
  #closed: FerryError | null = null;
  #frozen = false;

  constructor(options: ConnectionOptions) {
    this.fd = options.fd;
    this.#native = options.native;
    this.#handler = options.handler;
    this.#framer = new Framer(options.maxMessage, options.inherited?.unread);
    options.native.setSendBuffer(options.fd, MESSAGES_IN_SOCKET * options.maxMessage);
    this.#outbox = new Outbox({ ...options, failed: (reason) => this.close(reason) });
    this.out = this.#outbox.buffer;
    this.#pending = new PendingRequests(options.reactor, commandName);
    try {
      if (options.inherited !== undefined) this.#inherit(options.inherited);
      this.#port = options.reactor.open(
        options.fd,
        { rx: this.#framer.bytes, tx: this.out.bytes, fds: this.#fds, control: this.out.control },
        { received: (result) => this.#received(result), writable: () => this.#writable() },
      );
      this.#outbox.serve(this.#port);
      if (options.inherited !== undefined) this.#stopAll();
    } catch (error) {
      options.native.close(options.fd);
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
    return this.#held.length;
  }

  /** Since when (performance.now()) a peer may wait for the reply to a command that is held; null when it does not. */
  get heldSince(): number | null {
    return this.#held.owedSince;
  }

  /** Whether commands wait. */
  get holding(): boolean {
    return this.#holding;
  }

  /**
   * Begins the reply to `to` with `payloadSize` bytes, which the caller writes to `out.bytes` from the returned
   * offset. Returns -1 when nothing is to be sent (a posted command, a closed connection).
   */
  reply(to: ReplyTicket, payloadSize: number): number {
    if (to.noReply) return -1;
    const at = this.#outbox.begin(to.id, to.command, MessageType.REPLY, 0, payloadSize);
    if (at >= 0 && this.#current?.id === to.id) this.#replyAt = this.out.newest;
    return at;
  }

  /** Answers with an errno: a header and nothing else, as the specification asks. */
  replyError(to: ReplyTicket, errno: number): void {
    if (to.noReply) return;
    this.#outbox.begin(to.id, to.command, MessageType.REPLY | HeaderFlag.ERROR, errno, 0);
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
    this.#holding = true;
  }

  /** Handles the commands that waited, in order, and goes on. A handler that parks one holds the connection again. */
  release(): void {
    this.#holding = false;
    this.#handleAll();
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
    if (!this.#frozen) return;
    this.#frozen = false;
    this.#outbox.thaw();
    this.#handleAll();
  }

  /**
   * Why another process can't go on with this connection now; null when it can. All reasons pass by themselves, unless
   * the peer has ceased to read or to answer.
   */
  get unfinished(): string | null {
    if (this.#pending.size > 0) return 'a request of ours is not answered yet';
    if (this.out.cutsHeader) return 'the client has read only part of a header';
    if (this.#outbox.awaited && this.out.pending > 0) return 'the client has not read what it was sent';
    if (this.#framer.skipping) return 'the client is in the middle of a message that is too long';
    return null;
  }

  /** What another process needs to go on; of a connection that is frozen. Fds stay open here, and are not copied. */
  remains(): ConnectionRemains {
    return { unread: this.#unread(), unsent: this.out.remains(), ids: this.#pending.usedIds() };
  }

  /** Lets go of the socket, which another process goes on with: nobody is told. */
  abandon(): void {
    if (this.#closed !== null) return;
    this.#closed = new TransportError('ERR_CONNECTION_CLOSED', 'another process goes on with the connection');
    this.#outbox.shut();
    this.#port.close();
    this.#closeFds(this.#framer.takeAllFds());
    for (const held of this.#held.takeAll()) this.#closeFds(held.fds);
    this.#native.close(this.fd);
  }

  /** Takes the commands that wait away from the connection, for an owner that outlives it. */
  takeHeld(): HeldMessage[] {
    return this.#held.takeAll();
  }

  /** Ends the connection: requests in flight fail with `reason`, fds are closed. Safe anywhere, also repeated. */
  close(reason: FerryError = new TransportError('ERR_CONNECTION_CLOSED', 'the connection was closed')): void {
    if (this.#closed !== null) return;
    this.#closed = reason;
    const waiting = this.#outbox.shut();
    this.#port.close();
    this.#closeFds(this.#framer.takeAllFds());
    this.#native.close(this.fd);
    this.#pending.failAll(reason);
    for (const run of waiting) run();
    this.#handler.closed(reason);
    for (const held of this.#held.takeAll()) this.#closeFds(held.fds);
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
    if (lent.length > 0) this.#outbox.whenDrained(() => this.#closeFds(lent));
  }

  #stopAll(): void {
    this.#outbox.freeze();
    this.#frozen = true;
    this.#port.expect(this.#framer.receiveOffset, 0);
  }

  /** Commands that wait, and then what no message has been made of. */
  #unread(): UnreadBytes {
    const pieces: Uint8Array[] = [];
    const fdSets: { at: number; fds: readonly number[] }[] = [];
    let length = 0;
    for (const { bytes, fds } of this.#held.list()) {
      pieces.push(bytes);
      length += bytes.length;
      if (fds.length > 0) fdSets.push({ at: length - 1, fds });
    }
    const { bytes, fdSets: rest } = this.#framer.remains();
    return {
      bytes: Buffer.concat([...pieces, bytes]),
      fdSets: [...fdSets, ...rest.map(({ at, fds }) => ({ at: at + length, fds }))],
    };
  }

  #received(result: number): void {
    if (result <= 0) {
      this.close(endOfStream(result, this.#framer.pending));
      return;
    }
    const count = this.#fds[0] ?? 0;
    if (count === 0 && !this.#outbox.gathering && this.#held.length === 0 && this.#framer.pushWhole(result)) {
      this.#handleAlone(result);
      return;
    }
    this.#framer.push(result, count > 0 ? Array.from(this.#fds.subarray(1, 1 + count)) : NO_FDS);
    this.#handleReceived();
    if (this.#framer.hasFds && this.#framer.fdCount > MAX_FDS) this.close(tooManyFds(MAX_FDS));
  }

  /** The usual case, without what only the others need: one message has come, and nothing waits before it. */
  #handleAlone(size: number): void {
    const { bytes, view } = this.#framer;
    this.#outbox.gathering = true;
    this.#message.point(bytes, view, 0, size, NO_FDS);
    this.#dispatch();
    this.#outbox.gathering = false;
    if (this.#held.length > 0) this.#handleReceived();
    else if (!this.#outbox.plain) this.#outbox.flush();
  }

  /** As {@link #handleAll}, inside a callback of the port: that sends the answers itself when nothing is special. */
  #handleReceived(): void {
    if (this.#outbox.gathering || this.#closed !== null) return;
    this.#handleWhatIsThere();
    if (!this.#outbox.plain) this.#outbox.flush();
    this.#expectMore();
  }

  #writable(): void {
    if (!this.#frozen && this.#outbox.writable()) this.#handleAll();
  }

  /** Handles everything that can be handled now and sends the answers with one system call. */
  #handleAll(): void {
    if (this.#outbox.gathering || this.#closed !== null || this.#frozen) return;
    this.#handleWhatIsThere();
    this.#outbox.flush();
    this.#expectMore();
  }

  #handleWhatIsThere(): void {
    this.#outbox.gathering = true;
    do {
      if (this.#held.length > 0) this.#handleHeld();
      while (this.#closed === null && !this.#held.full && this.#handleNext());
    } while (this.#closed === null && this.#held.length > 0 && !this.#holding && !this.#outbox.backedUp);
    this.#outbox.gathering = false;
  }

  #expectMore(): void {
    if (this.#closed !== null || this.#frozen) return;
    this.#port.expect(this.#framer.receiveOffset, this.#held.full ? 0 : this.#framer.receiveLength);
  }

  /** Handles the next complete message; false when there is none. */
  #handleNext(): boolean {
    const framer = this.#framer;
    const what = framer.next();
    if (what === 'incomplete') return false;
    if (what === 'broken') {
      this.close(brokenStream());
      return false;
    }
    if (framer.hasFds) this.#closeFds(framer.takeStrayFds());
    const fds = framer.hasFds ? framer.takeFds() : NO_FDS;
    this.#message.point(framer.bytes, framer.view, framer.messageStart, framer.messageEnd, fds);
    if (what === 'message') this.#dispatch();
    else if (this.#message.isReply) this.close(brokenStream());
    else this.replyError(this.#message, what === 'too-big' ? Errno.EMSGSIZE : Errno.EINVAL);
    if (this.#message.fds.length > 0) this.#closeFds(this.#message.takeFds());
    return true;
  }

  #dispatch(): void {
    const message = this.#message;
    if (message.isReply) {
      if (!this.#pending.resolve(message)) this.#handler.report(unexpectedReply(message));
    } else if (!message.isCommand) {
      this.replyError(message, Errno.EINVAL);
    } else if (this.#holding || this.#held.length > 0 || this.#outbox.backedUp) {
      this.#held.push(message, HEADER_SIZE);
    } else {
      this.#handle();
    }
  }

  /** Hands the current message to the handler; parks it when the handler says so. */
  #handle(): void {
    const message = this.#message;
    if (this.#runHandler(message)) return;
    this.#holding = true;
    this.#held.push(message, HEADER_SIZE);
  }

  /** False: the handler wants the command parked. */
  #runHandler(message: IncomingMessage): boolean {
    let handled = true;
    this.#replyAt = -1;
    this.#current = message;
    try {
      // A connection that its handler has closed has nowhere to park anything.
      handled = this.#handler.command(message) || this.#closed !== null;
    } catch (error) {
      this.#fail(error);
    }
    this.#current = null;
    return handled;
  }

  /** Answers with the error, unless an answer is on its way already. */
  #fail(error: unknown): void {
    const errno = error instanceof FerryError ? error.errno : Errno.EIO;
    const answered = this.#replyAt >= 0 && !this.out.cancel(this.#replyAt);
    if (!(error instanceof FerryError)) this.#handler.report(handlerBug(error, this.#message));
    else if (answered) this.#handler.report(error);
    if (!answered) this.replyError(this.#message, errno);
  }

  #handleHeld(): void {
    while (!this.#holding && this.#closed === null && !this.#outbox.backedUp) {
      const held = this.#held.shift();
      if (held === undefined) return;
      if (!this.#handleOneHeld(held)) return;
    }
  }

  #handleOneHeld(held: HeldMessage): boolean {
    const { bytes } = held;
    this.#message.point(bytes, new DataView(bytes.buffer), 0, bytes.length, held.fds);
    if (!this.#runHandler(this.#message)) {
      this.#holding = true;
      this.#held.unshift({ ...held, fds: this.#message.takeFds() });
      return false;
    }
    this.#closeFds(this.#message.takeFds());
    return true;
  }

  #closeFds(fds: readonly number[]): void {
    for (const fd of fds) this.#native.close(fd);
  }
}

const NO_FDS: number[] = [];
/** Room in the kernel for some of the longest messages, so that one takes one send; the system may grant less. */
const MESSAGES_IN_SOCKET = 4;
