import { Errno, FerryError } from '../errors/index.ts';
import { CONTROL_LENGTH, type Native } from '../native/index.ts';
import type { Reactor, SocketPort } from '../transport/index.ts';
import { HandoverError, unexpected } from './handover-error.ts';
import { FrameHead, MAGIC, MAX_BODY, MAX_FDS } from './layout.ts';

/** Whom a link tells. */
export interface LinkEvents {
  /** A message. The body is valid until this returns; the fds are the callee's. A thrown FerryError ends the link. */
  message(kind: number, body: Uint8Array, fds: readonly number[]): void;
  /** The other process has gone, or makes no sense. Called once, and not after {@link HandoverLink.close}. */
  ended(reason: FerryError): void;
}

/** Something to say. */
export interface Said {
  readonly kind: number;
  readonly body: Uint8Array;
  readonly fds?: readonly number[];
}

interface Outgoing {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  sent: number;
}

/** Room in the kernel for what is said, in bytes; the system may grant less. */
const SOCKET_BUFFER = 4 * MAX_BODY;
const HEAD_CHECKED = FrameHead.size - 4;

/** The talk of two server processes: messages with checksums and fds, over a UNIX socket. */
export class HandoverLink {
  readonly #native: Native;
  readonly #fd: number;
  readonly #events: LinkEvents;
  readonly #port: SocketPort;
  readonly #rx: Uint8Array;
  readonly #view: DataView;
  readonly #fds = new Int32Array(1 + MAX_FDS);
  /** What the socket has not taken of the only message that waits. */
  readonly #kept: Uint8Array;
  #have = 0;
  /** Fds that have come and belong to no message yet. */
  #waiting: number[] = [];
  #queue: Outgoing[] = [];
  #queued = 0;
  #drained: (() => void)[] = [];
  /** Nobody hears what is said. */
  #deaf = false;
  #closed = false;

  /** The fd is the link's from now on. No body is longer than `maxBody`. */
  constructor(native: Native, reactor: Reactor, fd: number, events: LinkEvents, maxBody: number = MAX_BODY) {
    this.#rx = new Uint8Array(FrameHead.size + maxBody);
    this.#view = new DataView(this.#rx.buffer);
    this.#kept = new Uint8Array(this.#rx.length);
    this.#native = native;
    this.#fd = fd;
    this.#events = events;
    native.setSendBuffer(fd, SOCKET_BUFFER);
    this.#port = reactor.open(
      fd,
      { rx: this.#rx, tx: new Uint8Array(1), fds: this.#fds, control: new Int32Array(CONTROL_LENGTH) },
      { received: (result) => this.#received(result), writable: () => this.#flush() },
    );
  }

  /** Whether anything can still be said. */
  get open(): boolean {
    return !this.#closed;
  }

  /** Bytes that wait to be sent. */
  get pending(): number {
    return this.#queued;
  }

  /** Says something. Fds must stay open until {@link drained}. Nothing when the link is closed. */
  send(kind: number, body: Uint8Array = NOTHING, fds: readonly number[] = []): void {
    this.#put(this.#head(kind, body, fds.length), body, fds);
  }

  /** Says several things at once, which wakes the other process up only once; {@link MAX_FDS} with all of them. */
  sendTogether(messages: readonly Said[]): void {
    const pieces = messages.flatMap(({ kind, body, fds = [] }) => [this.#head(kind, body, fds.length), body]);
    this.#put(
      NOTHING,
      Buffer.concat(pieces),
      messages.flatMap(({ fds = [] }) => fds),
    );
  }

  #put(head: Uint8Array, body: Uint8Array, fds: readonly number[]): void {
    if (this.#closed || this.#deaf) return;
    const length = head.length + body.length;
    const sent = this.#queue.length === 0 ? this.#sendNow(head, body, fds) : 0;
    if (sent === length || this.#deaf) return;
    // Nothing new for each piece of a long state: what is thrown away is collected, and that takes its time.
    const reused = this.#queue.length === 0 && length <= this.#kept.length;
    const bytes = reused ? this.#kept.subarray(0, length) : new Uint8Array(length);
    bytes.set(head);
    bytes.set(body, head.length);
    this.#queue.push({ bytes, fds, sent });
    this.#queued += length - sent;
    if (this.#queue.length === 1) this.#port.awaitWritable(true);
  }

  /** Settles when all that was said has been sent, or never will be. */
  drained(): Promise<void> {
    if (this.#queued === 0 || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Ends the talk. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#port.close();
    for (const fd of this.#waiting.splice(0)) this.#native.close(fd);
    this.#native.close(this.#fd);
    this.#queue = [];
    this.#wake();
  }

  /** What the socket takes at once, which mostly is all, without a copy. */
  #sendNow(head: Uint8Array, body: Uint8Array, fds: readonly number[]): number {
    const rights = fds.length > 0 ? fds : null;
    const taken = this.#native.send(this.#fd, head, 0, head.length, body, 0, body.length, rights);
    if (taken < 0 && taken !== -Errno.EAGAIN) this.#deafened();
    return Math.max(0, taken);
  }

  #head(kind: number, body: Uint8Array, fds: number): Uint8Array {
    const bytes = new Uint8Array(FrameHead.size);
    const view = new DataView(bytes.buffer);
    const bodyChecksum = this.#native.crc32(body, 0);
    const head = { magic: MAGIC, kind, fds, length: body.length, bodyChecksum, headChecksum: 0 };
    FrameHead.write(view, 0, head);
    const headChecksum = this.#native.crc32(bytes.subarray(0, HEAD_CHECKED), 0);
    FrameHead.write(view, 0, { ...head, headChecksum });
    return bytes;
  }

  #flush(): void {
    while (!this.#closed) {
      const next = this.#queue[0];
      if (next === undefined) break;
      const { bytes, fds, sent } = next;
      const rights = sent === 0 && fds.length > 0 ? fds : null;
      const taken = this.#native.send(this.#fd, bytes, sent, bytes.length - sent, null, 0, 0, rights);
      if (taken === -Errno.EAGAIN) return this.#port.awaitWritable(true);
      if (taken < 0) return this.#deafened();
      next.sent += taken;
      this.#queued -= taken;
      if (next.sent === bytes.length) this.#queue.shift();
    }
    if (!this.#closed) this.#port.awaitWritable(false);
    this.#wake();
  }

  /** The other hears nothing any more. What it has said before is still to be read, and then its end. */
  #deafened(): void {
    this.#queue = [];
    this.#queued = 0;
    this.#deaf = true;
    this.#port.awaitWritable(false);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#drained.splice(0)) wake();
  }

  #received(result: number): void {
    if (result === -Errno.EMSGSIZE) return this.#end(fdsLost());
    if (result <= 0) return this.#end(lost(-result));
    this.#waiting.push(...this.#fds.subarray(1, 1 + (this.#fds[0] ?? 0)));
    this.#have += result;
    try {
      this.#cut();
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      return this.#end(error);
    }
    if (!this.#closed) this.#port.expect(this.#have, this.#rx.length - this.#have);
  }

  #cut(): void {
    let at = 0;
    while (!this.#closed && this.#have - at >= FrameHead.size) {
      const { kind, fds, length } = this.#headAt(at);
      const end = at + FrameHead.size + length;
      if (this.#have < end) break;
      this.#deliver(kind, this.#rx.subarray(at + FrameHead.size, end), fds, at);
      at = end;
    }
    if (at === 0) return;
    this.#rx.copyWithin(0, at, this.#have);
    this.#have -= at;
  }

  #headAt(at: number): { kind: number; fds: number; length: number } {
    const { magic, kind, fds, length, headChecksum } = FrameHead.read(this.#view, at);
    const checksum = this.#native.crc32(this.#rx.subarray(at, at + HEAD_CHECKED), 0);
    if (
      magic !== MAGIC ||
      checksum !== headChecksum ||
      length > this.#rx.length - FrameHead.size ||
      fds > MAX_FDS
    ) {
      throw unexpected('sends no messages of a hand-over');
    }
    return { kind, fds, length };
  }

  #deliver(kind: number, body: Uint8Array, fds: number, at: number): void {
    if (this.#native.crc32(body, 0) !== FrameHead.read(this.#view, at).bodyChecksum) {
      throw unexpected('has sent a message that was damaged');
    }
    if (fds > this.#waiting.length) throw fdsLost();
    this.#events.message(kind, body, this.#waiting.splice(0, fds));
  }

  #end(reason: FerryError): void {
    if (this.#closed) return;
    this.close();
    this.#events.ended(reason);
  }
}

const NOTHING = new Uint8Array(0);

function lost(errno: number): HandoverError {
  const context = errno === 0 ? {} : { errno };
  return new HandoverError('ERR_HANDOVER_LOST', 'the other server process has ended', context);
}

function fdsLost(): HandoverError {
  const message = 'not all descriptors have arrived: raise the limit of open files (ulimit -n)';
  return new HandoverError('ERR_HANDOVER_FDS', message);
}
