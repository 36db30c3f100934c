import { Errno } from '../errors/index.ts';
import { CONTROL_LENGTH, Control, type Native } from '../native/index.ts';
import { HEADER_SIZE, littleEndian } from '../protocol/index.ts';
import { memoryOf, sentSize } from './connection-memory.ts';
import { SIZE_AT } from './framer.ts';
import { type FdMark, newestMessage, type UnsentBytes } from './unsent-bytes.ts';

/**
 * Messages are gathered up to this many bytes before they are sent, so that a wake-up costs one send. No send has more
 * than one message beyond it, because the kernel cuts what is longer into pieces of its own (net/unix/af_unix.c: 32 KiB
 * and a little) and QEMU gives up on a connection when it finds part of a header in the socket.
 */
const BATCH = 32 * 1024;

/**
 * Messages on their way out of one socket: built in place, sent in batches with one system call, kept when the
 * socket is full. It never blocks and never grows.
 */
export class SendBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** A port that has this array sends bytes[TX_START...TX_END] when it likes: all there is if that is {@link plain}. */
  readonly control = new Int32Array(CONTROL_LENGTH);
  readonly #native: Native;
  readonly #fd: number;
  /** TX_START, less what a port has sent since {@link #settle}. */
  #start = 0;
  /** Where what is to be sent ends. */
  #end = 0;
  #withheld = false;
  /** The messages with fds. Each travels in a sendmsg of its own, so that the receiver can tell whose they are. */
  #fdMarks: FdMark[] = [];
  /** Where the newest message begins; negative when it has been sent. */
  #newest = 0;
  /** How many bytes have left the buffer: the place of bytes[#start] among all that ever were in it. */
  #sent = 0;
  /** Where the message ends of which part has been sent; before #start when none has. */
  #partEnd = 0;
  /** The place, among all bytes that ever were in the buffer, where that message begins. */
  #partBegin = 0;
  /** The errno of a send that failed for good, or 0. */
  failure = 0;

  /** `maxMessage` bounds one message, header included, in bytes. `prepared`: memory of {@link sentSize}. */
  constructor(native: Native, fd: number, maxMessage: number, prepared?: Uint8Array) {
    this.#native = native;
    this.#fd = fd;
    this.bytes = memoryOf(sentSize(maxMessage), prepared);
    this.view = new DataView(this.bytes.buffer);
  }

  /** What has not been sent; it stays here. */
  remains(): UnsentBytes {
    this.#settle();
    const from = this.#start;
    return {
      bytes: this.bytes.slice(from, this.#end),
      rest: Math.max(0, this.#partEnd - from),
      fdMarks: this.#fdMarks.map(({ at, end, fds }) => ({ at: at - from, end: end - from, fds })),
    };
  }

  /** Takes over what another buffer, of the same socket, has left; before anything is begun. False: it does not fit. */
  adopt(unsent: UnsentBytes): boolean {
    const { bytes, rest, fdMarks } = unsent;
    const newest = newestMessage(unsent);
    if (bytes.length > this.bytes.length || newest === null) return false;
    this.bytes.set(bytes);
    this.#fdMarks = fdMarks.map(({ at, end, fds }) => ({ at, end, fds: [...fds] }));
    this.#partEnd = rest;
    this.#partBegin = -HEADER_SIZE;
    this.#newest = newest;
    this.#endAt(bytes.length);
    return true;
  }

  /**
   * Whether the socket has part of a header and not the rest of it. A client may give up on such a connection (QEMU
   * reads a header with one call), so nothing else may happen before the rest has been sent.
   */
  get cutsHeader(): boolean {
    this.#settle();
    return this.#partEnd > this.#start && this.#sent - this.#partBegin < HEADER_SIZE;
  }

  /** Bytes not sent yet. */
  get pending(): number {
    return this.#end - (this.control[Control.TX_START] ?? 0);
  }

  /** Whether what is pending may be sent as it is, with one call. */
  get plain(): boolean {
    if (this.#fdMarks.length > 0 || this.failure !== 0) return false;
    return this.pending <= BATCH || this.#newest === this.#start;
  }

  /** Whether nothing is sent, see {@link withhold}. */
  get withheld(): boolean {
    return this.#withheld;
  }

  /** From now on nothing is sent, not by a port either whose callback this is called in, until {@link release}. */
  withhold(): void {
    this.#settle();
    this.#withheld = true;
    this.#offer();
  }

  /** It may be sent again. */
  release(): void {
    this.#withheld = false;
    this.#offer();
  }

  /** Whether a message of `payloadSize` bytes fits now. */
  fits(payloadSize: number): boolean {
    return this.pending + HEADER_SIZE + payloadSize <= this.bytes.length;
  }

  /**
   * Writes a header and leaves room for the payload; returns where the payload begins in `bytes`, or -1 when the
   * peer has not taken enough of what went before.
   */
  begin(id: number, command: number, flags: number, error: number, payloadSize: number): number {
    const size = HEADER_SIZE + payloadSize;
    this.#settle();
    if (this.#start === this.#end) this.#rewind();
    else if (this.pending + size > BATCH) this.flush();
    if (this.#end + size > this.bytes.length && !this.#compact(size)) return -1;
    const at = this.#end;
    const { view } = this;
    view.setUint16(at, id, littleEndian);
    view.setUint16(at + 2, command, littleEndian);
    view.setUint32(at + SIZE_AT, size, littleEndian);
    view.setUint32(at + 8, flags, littleEndian);
    view.setUint32(at + 12, error, littleEndian);
    this.#newest = at;
    this.#endAt(at + size);
    return at + HEADER_SIZE;
  }

  /** Attaches fds to the message begun last. They must stay open until it is sent. */
  attachFds(fds: readonly number[]): void {
    if (fds.length === 0) return;
    this.#fdMarks.push({ at: this.#newest, end: this.#end, fds: [...fds] });
    this.#offer();
  }

  /** Takes back the message of this {@link newest}. False: there is a newer one, or part of it has been sent. */
  cancel(place: number): boolean {
    this.#settle();
    if (place !== this.newest || place < this.#sent) return false;
    if (this.#fdMarks.at(-1)?.at === this.#newest) this.#fdMarks.pop();
    this.#endAt(this.#newest);
    return true;
  }

  /** Takes `bytes` off the end of the message begun last. */
  shrink(bytes: number): void {
    this.#endAt(this.#end - bytes);
    this.view.setUint32(this.#newest + SIZE_AT, this.#end - this.#newest, littleEndian);
  }

  /** The place of the newest message among all that ever were begun; for {@link cancel}. */
  get newest(): number {
    return this.#sent + this.#newest - this.#start;
  }

  /** Sends what it can. Returns true when nothing is left. */
  flush(): boolean {
    this.#settle();
    while (this.#start < this.#end && this.failure === 0) {
      const mark = this.#fdMarks[0];
      const withFds = mark !== undefined && mark.at === this.#start;
      const end = withFds ? mark.end : this.#batchEnd(mark?.at ?? this.#end);
      const sent = this.#send(end - this.#start, withFds ? mark.fds : null, null);
      if (sent <= 0) return false;
      if (withFds) this.#fdMarks.shift();
      this.#took(sent);
    }
    if (this.#start === this.#end) this.#rewind();
    return this.#start === this.#end;
  }

  /**
   * Sends everything gathered and then `body`, the tail of the message begun last, whose size is corrected; without
   * copying it when the socket takes it at once. Returns false when there is no room to keep the rest.
   */
  flushWith(body: Uint8Array): boolean {
    const size = this.#end - this.#newest + body.length;
    this.view.setUint32(this.#newest + SIZE_AT, size, littleEndian);
    let taken = 0;
    if (this.#sendsOlder() && this.failure === 0) {
      const head = this.pending;
      const sent = Math.max(0, this.#send(head, null, body));
      taken = Math.max(0, sent - head);
      this.#took(sent - taken);
    }
    const rest = body.length - taken;
    if (this.#end + rest > this.bytes.length && !this.#compact(rest)) return false;
    this.bytes.set(body.subarray(taken), this.#end);
    this.#endAt(this.#end + rest);
    if (taken > 0) {
      this.#partEnd = this.#end;
      this.#partBegin = this.#sent - taken - HEADER_SIZE;
    }
    if (this.#start === this.#end) this.#rewind();
    return true;
  }

  /** Sends what was begun before the newest message. True when nothing of that is left. */
  #sendsOlder(): boolean {
    this.#settle();
    const end = this.#end;
    this.#end = Math.max(this.#newest, this.#start);
    while (this.#start < this.#end && this.#fdMarks.length === 0 && this.failure === 0) {
      const sent = this.#send(this.#batchEnd(this.#end) - this.#start, null, null);
      if (sent <= 0) break;
      this.#took(sent);
    }
    const older = this.#end - this.#start;
    this.#endAt(end);
    return older === 0 && this.#fdMarks.length === 0;
  }

  /** Where the next send ends, at most at `end`: after whole messages, and after the first one that is large. */
  #batchEnd(end: number): number {
    if (end - this.#start <= BATCH) return end;
    let at = this.#partEnd > this.#start ? this.#partEnd : this.#messageEnd(this.#start);
    for (let next = at; next <= end && next - this.#start <= BATCH; next = this.#messageEnd(next)) {
      at = next;
      if (next === end) break;
    }
    // The body of the newest message may not be here yet.
    return Math.min(at, end);
  }

  #messageEnd(at: number): number {
    return at + this.view.getUint32(at + SIZE_AT, littleEndian);
  }

  #send(length: number, fds: readonly number[] | null, body: Uint8Array | null): number {
    if (this.#withheld) return -Errno.EAGAIN;
    const sent = this.#native.send(
      this.#fd,
      this.bytes,
      this.#start,
      length,
      body,
      0,
      body === null ? 0 : body.length,
      fds,
    );
    if (sent < 0 && sent !== -Errno.EAGAIN) {
      this.failure = -sent;
      this.#offer();
    }
    return sent;
  }

  /** Takes account of what a port has sent. */
  #settle(): void {
    const taken = (this.control[Control.TX_START] ?? 0) - this.#start;
    if (taken > 0) this.#took(taken);
  }

  #took(bytes: number): void {
    let at = this.#partEnd > this.#start ? this.#partEnd : this.#start;
    this.#startAt(this.#start + bytes);
    this.#sent += bytes;
    if (this.#start === this.#end) return;
    let begin = at;
    while (at < this.#start) {
      begin = at;
      at = this.#messageEnd(at);
    }
    if (begin < at) this.#partBegin = this.#sent - (this.#start - begin);
    this.#partEnd = at;
  }

  #startAt(at: number): void {
    this.#start = at;
    this.control[Control.TX_START] = at;
    this.#offer();
  }

  #endAt(at: number): void {
    this.#end = at;
    this.#offer();
  }

  /** Leaves to a port what it may send: it knows nothing of fds, nor where messages end. */
  #offer(): void {
    const { control } = this;
    control[Control.TX_END] = this.plain && !this.#withheld ? this.#end : (control[Control.TX_START] ?? 0);
  }

  #rewind(): void {
    this.#newest -= this.#start;
    this.#partEnd = 0;
    this.#end = 0;
    this.#startAt(0);
  }

  #compact(needed: number): boolean {
    this.flush();
    const shift = this.#start;
    if (this.#end - shift + needed > this.bytes.length) return false;
    if (shift > 0) {
      this.bytes.copyWithin(0, shift, this.#end);
      this.#fdMarks = this.#fdMarks.map(({ at, end, fds }) => ({ at: at - shift, end: end - shift, fds }));
      this.#newest -= shift;
      this.#partEnd -= shift;
      this.#end -= shift;
      this.#startAt(0);
    }
    return true;
  }
}
