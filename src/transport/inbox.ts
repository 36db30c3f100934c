import { Errno, type FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { HEADER_SIZE } from '../protocol/index.ts';
import type { Answers } from './answers.ts';
import { brokenStream, endOfStream, tooManyFds, unexpectedReply } from './connection-errors.ts';
import { Framer, type UnreadBytes } from './framer.ts';
import { type HeldMessage, HeldMessages } from './held-messages.ts';
import { IncomingMessage } from './incoming-message.ts';
import type { Outbox } from './outbox.ts';
import type { PendingRequests } from './pending-requests.ts';
import type { SocketPort } from './reactor.ts';

/** The most fds that one message can bring (SCM_MAX_FD of the kernel). */
const MAX_FDS = 253;
const NO_FDS: number[] = [];

/** What an inbox is made of. */
export interface InboxOptions {
  readonly native: Native;
  /** Longest message, header included, in bytes. */
  readonly maxMessage: number;
  /** What another process has received and not handled. */
  readonly unread: UnreadBytes | undefined;
  /** Memory for it that was made before. */
  readonly prepared?: Uint8Array | undefined;
  readonly answers: Answers;
  readonly outbox: Outbox;
  readonly pending: PendingRequests;
  /** The connection is over, because of what came or did not. */
  readonly ended: (reason: FerryError) => void;
  /** Something that the peer can't be told. */
  readonly report: (error: FerryError) => void;
}

/**
 * What a connection receives. Replies go to who waits for them; commands are handled in order, or wait: while the
 * connection is held, and while the peer does not read its replies.
 */
export class Inbox {
  /** Where received fds go: their number, then they. */
  readonly fds = new Int32Array(1 + MAX_FDS);
  readonly #native: Native;
  readonly #answers: Answers;
  readonly #outbox: Outbox;
  readonly #pending: PendingRequests;
  readonly #ended: (reason: FerryError) => void;
  readonly #report: (error: FerryError) => void;
  readonly #framer: Framer;
  readonly #message = new IncomingMessage();
  readonly #held = new HeldMessages();
  #port: SocketPort | null = null;
  #holding = false;
  #frozen = false;
  #shut = false;

  constructor(options: InboxOptions) {
    this.#native = options.native;
    this.#answers = options.answers;
    this.#outbox = options.outbox;
    this.#pending = options.pending;
    this.#ended = options.ended;
    this.#report = options.report;
    this.#framer = new Framer(options.maxMessage, options.unread, options.prepared);
  }

  /** Where received bytes go. */
  get bytes(): Uint8Array {
    return this.#framer.bytes;
  }

  /** Commands that wait. */
  get waiting(): number {
    return this.#held.length;
  }

  /** Since when (performance.now()) a peer may wait for the reply to a command that waits; null when it does not. */
  get owedSince(): number | null {
    return this.#held.owedSince;
  }

  /** Whether commands wait until {@link release}. */
  get holding(): boolean {
    return this.#holding;
  }

  /** Whether the rest of a message that is too long has to come, to be thrown away. */
  get skipping(): boolean {
    return this.#framer.skipping;
  }

  /** Tells `port` what to receive from now on. */
  serve(port: SocketPort): void {
    this.#port = port;
  }

  /** From now on commands wait; replies are still matched. */
  hold(): void {
    this.#holding = true;
  }

  /** Handles the commands that waited, in order, and goes on. A handler that parks one holds again. */
  release(): void {
    this.#holding = false;
    this.handleAll();
  }

  /** From now on nothing is received or handled, until {@link thaw}. */
  freeze(): void {
    this.#frozen = true;
    this.#port?.expect(this.#framer.receiveOffset, 0);
  }

  /** Goes on; false when it was not frozen. */
  thaw(): boolean {
    const frozen = this.#frozen;
    this.#frozen = false;
    return frozen;
  }

  /** Nothing is handled any more; fds that no message has claimed are closed. */
  shut(): void {
    this.#shut = true;
    this.#closeFds(this.#framer.takeAllFds());
  }

  /** Takes the commands that wait out of here, with their fds. */
  takeHeld(): HeldMessage[] {
    return this.#held.takeAll();
  }

  /** Throws away the commands that wait. */
  dropHeld(): void {
    for (const held of this.#held.takeAll()) this.#closeFds(held.fds);
  }

  /** Commands that wait, and then what no message has been made of; it stays here. */
  remains(): UnreadBytes {
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

  /** So many bytes have come (0: the peer has closed, or a negated errno), and what {@link fds} says. */
  received(result: number): void {
    if (result <= 0) {
      this.#ended(endOfStream(result, this.#framer.pending));
      return;
    }
    const count = this.fds[0] ?? 0;
    if (count === 0 && !this.#outbox.gathering && this.#held.length === 0 && this.#framer.pushWhole(result)) {
      this.#handleAlone(result);
      return;
    }
    this.#framer.push(result, count > 0 ? Array.from(this.fds.subarray(1, 1 + count)) : NO_FDS);
    this.#handleReceived();
    if (this.#framer.hasFds && this.#framer.fdCount > MAX_FDS) this.#ended(tooManyFds(MAX_FDS));
  }

  /** The socket takes data again: what waited for that is handled when everything has been sent. */
  writable(): void {
    if (!this.#frozen && this.#outbox.writable()) this.handleAll();
  }

  /** Handles everything that can be handled now and sends the answers with one system call. */
  handleAll(): void {
    if (this.#outbox.gathering || this.#shut || this.#frozen) return;
    this.#handleWhatIsThere();
    this.#outbox.flush();
    this.#expectMore();
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

  /** As {@link handleAll}, inside a callback of the port: that sends the answers itself when nothing is special. */
  #handleReceived(): void {
    if (this.#outbox.gathering || this.#shut) return;
    this.#handleWhatIsThere();
    if (!this.#outbox.plain) this.#outbox.flush();
    this.#expectMore();
  }

  #handleWhatIsThere(): void {
    this.#outbox.gathering = true;
    do {
      if (this.#held.length > 0) this.#handleHeld();
      while (!this.#shut && !this.#held.full && this.#handleNext());
    } while (!this.#shut && this.#held.length > 0 && !this.#holding && !this.#outbox.backedUp);
    this.#outbox.gathering = false;
  }

  #expectMore(): void {
    if (this.#shut || this.#frozen) return;
    this.#port?.expect(this.#framer.receiveOffset, this.#held.full ? 0 : this.#framer.receiveLength);
  }

  /** Handles the next complete message; false when there is none. */
  #handleNext(): boolean {
    const framer = this.#framer;
    const what = framer.next();
    if (what === 'incomplete') return false;
    if (what === 'broken') {
      this.#ended(brokenStream());
      return false;
    }
    if (framer.hasFds) this.#closeFds(framer.takeStrayFds());
    const fds = framer.hasFds ? framer.takeFds() : NO_FDS;
    this.#message.point(framer.bytes, framer.view, framer.messageStart, framer.messageEnd, fds);
    if (what === 'message') this.#dispatch();
    else if (this.#message.isReply) this.#ended(brokenStream());
    else this.#answers.replyError(this.#message, what === 'too-big' ? Errno.EMSGSIZE : Errno.EINVAL);
    if (this.#message.fds.length > 0) this.#closeFds(this.#message.takeFds());
    return true;
  }

  #dispatch(): void {
    const message = this.#message;
    if (message.isReply) {
      if (!this.#pending.resolve(message)) this.#report(unexpectedReply(message));
    } else if (!message.isCommand) {
      this.#answers.replyError(message, Errno.EINVAL);
    } else if (this.#holding || this.#held.length > 0 || this.#outbox.backedUp) {
      this.#held.push(message, HEADER_SIZE);
    } else if (!this.#handle()) {
      this.#held.push(message, HEADER_SIZE);
    }
  }

  /** False: the handler has parked the command, and with it all that come. */
  #handle(): boolean {
    // A connection that its handler has closed has nowhere to park anything.
    if (this.#answers.handle(this.#message) || this.#shut) return true;
    this.#holding = true;
    return false;
  }

  #handleHeld(): void {
    while (!this.#holding && !this.#shut && !this.#outbox.backedUp) {
      const held = this.#held.shift();
      if (held === undefined) return;
      if (!this.#handleOneHeld(held)) return;
    }
  }

  #handleOneHeld(held: HeldMessage): boolean {
    const { bytes } = held;
    this.#message.point(bytes, new DataView(bytes.buffer), 0, bytes.length, held.fds);
    if (!this.#handle()) {
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
