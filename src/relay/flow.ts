import { Errno } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { HEADER_SIZE, MAX_FDS_PER_MESSAGE } from '../protocol/index.ts';
import { MessageCuts } from './message-cuts.ts';
import type { FlowEnd } from './relay-tap.ts';

/**
 * The kernel gives what one sendmsg carries to one read of the receiver only up to this many bytes; what is longer it
 * cuts where it likes (net/unix/af_unix.c), and QEMU gives up on a connection when it reads part of a header.
 */
const PIECE = 32 * 1024;

/** How much one read takes, in bytes. */
export const READ_SIZE = 256 * 1024;

/** SHUT_RD and SHUT_WR of shutdown(2). */
const SHUT_RD = 0;
const SHUT_WR = 1;

/**
 * One direction of a relayed connection: what was read from one socket goes to the other as it came. Nothing more is
 * read before that has been taken, so a receiver that does not read stops its sender, as it would without a relay.
 *
 * The fds of one read belong to the message that contains its last byte (unix(7), SCM_RIGHTS), and the kernel gives a
 * reader the fds of a sendmsg with its first byte. So when fds have come, what precedes that message is sent before.
 */
export class Flow {
  /** What is read goes here; READ_SIZE bytes at most, and the rest of a header. */
  readonly buffer = new Uint8Array(READ_SIZE + HEADER_SIZE);
  /** Bytes that have come from the sender. */
  bytes = 0;
  /** Fds that have come from the sender. */
  fdCount = 0;
  /** How it has come to its end; null while it has not. */
  end: FlowEnd | null = null;
  readonly #native: Native;
  readonly #from: number;
  readonly #to: number;
  readonly #cuts = new MessageCuts();
  /** For the rest of a header, see {@link #mendHeader}. */
  readonly #mendFds = new Int32Array(1 + MAX_FDS_PER_MESSAGE);
  /** What is still to be sent is buffer[#start...#filled]. */
  #start = 0;
  #filled = 0;
  /** The next start of a message in #cuts.starts that has not been reached. */
  #nextCut = 0;
  /** The fds of the message that begins at #fdsAt. */
  #fds: readonly number[] = NONE;
  #fdsAt = 0;
  /** Whether they have left. */
  #fdsSent = false;
  /** The sender has closed; the receiver is told when everything is sent. */
  #closing: FlowEnd | null = null;

  constructor(native: Native, from: number, to: number) {
    this.#native = native;
    this.#from = from;
    this.#to = to;
  }

  /** Whether the receiver has not taken everything yet. */
  get waiting(): boolean {
    return this.#start < this.#filled;
  }

  /** Whether more may be read. */
  get reading(): boolean {
    return this.end === null && this.#closing === null && !this.waiting;
  }

  /** Whether the stream has been one of messages so far. */
  get understood(): boolean {
    return this.#cuts.understood;
  }

  /**
   * Sends buffer[0...length], which has just been read with `fds`; they are the flow's from now on. Returns how many bytes
   * that were: a few more than `length` when a header had been cut by the end of the buffer.
   */
  pass(length: number, fds: readonly number[]): number {
    this.#start = 0;
    this.#filled = length;
    this.#nextCut = 0;
    this.#fds = fds;
    this.#cuts.advance(this.buffer, 0, length);
    if (length >= READ_SIZE && fds.length === 0) this.#mendHeader();
    this.bytes += this.#filled;
    this.fdCount += this.#fds.length;
    const { count, starts, understood } = this.#cuts;
    this.#fdsAt = understood ? (starts[count - 1] ?? 0) : 0;
    const arrived = this.#filled;
    if (this.end === null) this.send();
    else this.#start = arrived;
    return arrived;
  }

  /** The fds of what {@link pass} was given last, as long as that has not returned to the caller's next read. */
  get passedFds(): readonly number[] {
    return this.#fds;
  }

  /** Sends what the receiver takes now. */
  send(): void {
    while (this.#start < this.#filled && this.end === null) {
      const carries = this.#fds.length > 0 && !this.#fdsSent && this.#start === this.#fdsAt;
      const end = this.#pieceEnd();
      const sent = this.#sendPiece(end - this.#start, carries ? this.#fds : null);
      if (sent === -Errno.EAGAIN) return;
      if (sent < 0) return this.#refused(-sent);
      if (carries) this.#fdsSent = true;
      this.#start += sent;
    }
    if (this.end === null && this.#closing !== null) this.#finish(this.#closing);
  }

  /** Closes the fds that have been passed on. To be called when nobody looks at them any more. */
  releaseFds(): void {
    if (this.#fds.length === 0 || (this.waiting && !this.#fdsSent)) return;
    for (const fd of this.#fds) this.#native.close(fd);
    this.#fds = NONE;
    this.#fdsSent = false;
  }

  /** The sender sends no more; the receiver is told so after what is still to be sent. */
  close(end: FlowEnd): void {
    if (this.#closing !== null || this.end !== null) return;
    this.#closing = end;
    this.send();
  }

  /** Gives everything up. */
  abandon(end: FlowEnd): void {
    this.end ??= end;
    this.#start = this.#filled;
    this.releaseFds();
  }

  #finish(end: FlowEnd): void {
    this.end = end;
    this.#native.shutdownHalf(this.#to, SHUT_WR);
  }

  /** The sender finds out as it would without a relay: its next send fails. */
  #refused(errno: number): void {
    this.abandon({ kind: 'refused', errno });
    this.#native.shutdownHalf(this.#from, SHUT_RD);
  }

  #sendPiece(length: number, fds: readonly number[] | null): number {
    return this.#native.send(this.#to, this.buffer, this.#start, length, null, 0, 0, fds);
  }

  /**
   * Where the next send ends: after whole messages as far as they travel in one piece, after a large one alone, and
   * before the message that has fds.
   */
  #pieceEnd(): number {
    const limit = this.#fds.length > 0 && this.#start < this.#fdsAt ? this.#fdsAt : this.#filled;
    if (limit - this.#start <= PIECE) return limit;
    const { starts, count } = this.#cuts;
    while (this.#nextCut < count && (starts[this.#nextCut] ?? limit) <= this.#start) this.#nextCut += 1;
    let end = Math.min(starts[this.#nextCut] ?? limit, limit);
    if (this.#nextCut >= count) return limit;
    for (let i = this.#nextCut + 1; i < count; i += 1) {
      const next = starts[i] ?? limit;
      if (next > limit || next - this.#start > PIECE) break;
      end = next;
    }
    return end;
  }

  /** The end of our buffer may have cut a header, which its sender has not: reads the rest of it, if that is there. */
  #mendHeader(): void {
    const fragment = this.#cuts.headerFragment;
    if (!this.#cuts.understood || fragment === 0) return;
    const at = this.#filled;
    const got = this.#native.receive(this.#from, this.buffer, at, HEADER_SIZE - fragment, this.#mendFds, 0);
    // Anything but "nothing there" has taken bytes away, or says that none will come.
    if (got <= 0) {
      if (got < 0 && got !== -Errno.EAGAIN) this.#closing = { kind: 'lost', errno: -got };
      return;
    }
    this.#cuts.extend(this.buffer, at, at + got);
    this.#filled += got;
    this.#fds = Array.from(this.#mendFds.subarray(1, 1 + (this.#mendFds[0] ?? 0)));
  }
}

const NONE: readonly number[] = [];
