import { Errno, type FerryError } from '../errors/index.ts';
import { CONTROL_LENGTH, check, type Native } from '../native/index.ts';
import { HeaderFlag, MAX_FDS_PER_MESSAGE, MESSAGE_OVERHEAD, MessageType } from '../protocol/index.ts';
import {
  Framer,
  IncomingMessage,
  Outbox,
  type Reactor,
  type SocketPort,
  TransportError,
} from '../transport/index.ts';

/** The largest `max_data_xfer_size` that passes in VERSION, bytes: what QEMU, libvfio-user and Ferry name. */
export const MAX_RELAYED_XFER_SIZE = 1024 * 1024;
/** Longest message that is relayed, header included. */
const MAX_MESSAGE = MAX_RELAYED_XFER_SIZE + MESSAGE_OVERHEAD;
/** Unsent bytes that the kernel keeps for a slow reader, so that a large message takes few turns. */
const SEND_BUFFER = 4 * 1024 * 1024;
/** poll(2): the peer has closed its end (poll.h). */
const POLLHUP = 0x10;
/** Up to so many bytes a loop beats a subarray and set. */
const SMALL = 64;

/** Who handles what arrives at a link. */
export interface LinkEvents {
  /** One message, valid until this returns; fds that are not taken are closed afterwards. */
  message(message: IncomingMessage): void;
  /** Everything that had arrived has been handled: what was begun meanwhile is to be flushed. */
  handled(): void;
  /** The connection is over. Called once, not by {@link Link.close}. */
  ended(reason: FerryError): void;
}

/** What a link is made of. */
export interface LinkOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** A connected, non-blocking UNIX stream socket; the link closes it. */
  readonly fd: number;
  readonly events: LinkEvents;
}

/**
 * One socket of a proxy. Messages are taken from it whole, and put on it as they came from elsewhere: with their ids,
 * flags and fds. Nothing is sent before {@link flush}.
 */
export class Link {
  readonly #native: Native;
  readonly #fd: number;
  readonly #events: LinkEvents;
  readonly #framer = new Framer(MAX_MESSAGE);
  readonly #fds = new Int32Array(1 + MAX_FDS_PER_MESSAGE);
  readonly #message = new IncomingMessage();
  readonly #outbox: Outbox;
  readonly #port: SocketPort;
  #paused = false;
  #receiving = false;
  #closed = false;

  constructor({ native, reactor, fd, events }: LinkOptions) {
    this.#native = native;
    this.#fd = fd;
    this.#events = events;
    const failed = (reason: FerryError): void => this.#end(reason);
    this.#outbox = new Outbox({ native, reactor, fd, maxMessage: MAX_MESSAGE, failed });
    // Whoever puts messages here flushes: nothing is planned for later.
    this.#outbox.gathering = true;
    try {
      check(native.setSendBuffer(fd, SEND_BUFFER), 'setSendBuffer', { fd });
      const control = new Int32Array(CONTROL_LENGTH);
      this.#port = reactor.open(
        fd,
        { rx: this.#framer.bytes, tx: new Uint8Array(0), fds: this.#fds, control },
        { received: (result) => this.#received(result), writable: () => void this.#outbox.writable() },
      );
    } catch (error) {
      native.close(fd);
      throw error;
    }
    this.#outbox.serve(this.#port);
  }

  /** Whether the connection is over. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether the peer has closed its end, which is noticed late when it is not read. */
  get hungUp(): boolean {
    const polled = Int32Array.of(this.#fd, 0, 0);
    return this.#closed || (this.#native.poll(polled, 1, 0) > 0 && ((polled[2] ?? 0) & POLLHUP) !== 0);
  }

  /** Whether the peer does not take what it is sent. */
  get backedUp(): boolean {
    return this.#outbox.backedUp;
  }

  /** Puts a message on the socket as it came, its fds included, which are taken from it. */
  forward(message: IncomingMessage): void {
    const { id, command, flags, error, bytes, start, length } = message;
    const at = this.#outbox.begin(id, command, flags, error, length);
    if (at < 0) return this.#overflow();
    const out = this.#outbox.buffer.bytes;
    if (length <= SMALL) for (let i = 0; i < length; i += 1) out[at + i] = bytes[start + i] ?? 0;
    else out.set(message.payload(), at);
    if (message.fds.length > 0) this.#carry(message.takeFds());
  }

  /** Puts a message of ours on the socket; the fds become the link's. */
  send(
    header: {
      readonly id: number;
      readonly command: number;
      readonly flags: number;
      readonly error?: number;
    },
    payload: Uint8Array,
    fds: readonly number[] = [],
  ): void {
    const { id, command, flags, error = 0 } = header;
    const at = this.#outbox.begin(id, command, flags, error, payload.length);
    if (at >= 0) this.#outbox.buffer.bytes.set(payload, at);
    else this.#overflow();
    if (fds.length > 0) this.#carry(fds);
  }

  /** Answers a command. */
  reply(to: { readonly id: number; readonly command: number }, payload: Uint8Array): void {
    this.send({ id: to.id, command: to.command, flags: MessageType.REPLY }, payload);
  }

  /** Answers a command with an errno. */
  replyError(to: { readonly id: number; readonly command: number }, errno: number): void {
    const flags = MessageType.REPLY | HeaderFlag.ERROR;
    this.send({ id: to.id, command: to.command, flags, error: errno }, NOTHING);
  }

  /** Sends what was put on the socket. */
  flush(): void {
    if (this.#outbox.buffer.pending > 0) this.#outbox.flush();
  }

  /** Calls `run` soon, when everything has been sent or the connection is over. */
  whenDrained(run: () => void): void {
    this.#outbox.whenDrained(run);
  }

  /** Reads no more until {@link resume}. What has arrived already is still handled. */
  pause(): void {
    this.#paused = true;
    if (!this.#closed && !this.#receiving) this.#expect();
  }

  /** Reads again. */
  resume(): void {
    this.#paused = false;
    if (!this.#closed && !this.#receiving) this.#expect();
  }

  /** Receives what is there now, as the reactor would; returns how much, to be given to {@link take}, or -EAGAIN. */
  look(): number {
    if (this.#closed || this.#paused || this.#receiving) return -Errno.EAGAIN;
    const { bytes, receiveOffset, receiveLength } = this.#framer;
    return this.#native.receive(this.#fd, bytes, receiveOffset, receiveLength, this.#fds, 0);
  }

  /** Handles what {@link look} has received. */
  take(result: number): void {
    this.#received(result);
  }

  /** Ends the connection. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const waiting = this.#outbox.shut();
    this.#port.close();
    this.#closeAll(this.#framer.takeAllFds());
    this.#native.close(this.#fd);
    for (const run of waiting) run();
  }

  #received(result: number): void {
    if (result <= 0) return this.#end(endOf(result));
    const count = this.#fds[0] ?? 0;
    this.#framer.push(result, count === 0 ? NO_FDS : Array.from(this.#fds.subarray(1, 1 + count)));
    this.#receiving = true;
    while (!this.#closed && this.#next());
    this.#receiving = false;
    this.#events.handled();
    if (!this.#closed) this.#expect();
  }

  /** Handles the next whole message; false when there is none. */
  #next(): boolean {
    const framer = this.#framer;
    const what = framer.next();
    if (what === 'incomplete') return false;
    if (what !== 'message') {
      this.#end(new TransportError('ERR_FRAMING', 'a message has a size that no message can have'));
      return false;
    }
    if (framer.hasFds) this.#closeAll(framer.takeStrayFds());
    const message = this.#message;
    const fds = framer.hasFds ? framer.takeFds() : NO_FDS;
    message.point(framer.bytes, framer.view, framer.messageStart, framer.messageEnd, fds);
    this.#events.message(message);
    if (message.fds.length > 0) this.#closeAll(message.takeFds());
    return true;
  }

  #expect(): void {
    const { receiveOffset, receiveLength } = this.#framer;
    this.#port.expect(receiveOffset, this.#paused ? 0 : receiveLength);
  }

  /** The fds go with the message that was begun last, and are closed when it has gone. */
  #carry(fds: readonly number[]): void {
    this.#outbox.buffer.attachFds(fds);
    this.#outbox.flush();
    this.#outbox.whenDrained(() => this.#closeAll(fds));
  }

  #overflow(): void {
    this.#end(new TransportError('ERR_SEND_QUEUE_FULL', 'the peer does not take its messages'));
  }

  #end(reason: FerryError): void {
    if (this.#closed) return;
    this.close();
    this.#events.ended(reason);
  }

  #closeAll(fds: readonly number[]): void {
    for (const fd of fds) this.#native.close(fd);
  }
}

const NO_FDS: number[] = [];
const NOTHING = new Uint8Array(0);

/** `result`: 0, the peer has closed; or a negated errno. */
function endOf(result: number): TransportError {
  if (result === 0) return new TransportError('ERR_CONNECTION_CLOSED', 'the peer has closed the connection');
  const errno = result < 0 ? -result : Errno.EIO;
  return new TransportError('ERR_CONNECTION_LOST', 'the connection was lost', { errno }, { errno });
}
