import { HEADER_SIZE, littleEndian } from '../protocol/index.ts';
import { memoryOf, receivedSize } from './connection-memory.ts';

/** Offset of msg_size in the header. */
export const SIZE_AT = 4;
const NOTHING_UNREAD: UnreadBytes = { bytes: new Uint8Array(0), fdSets: [] };
/** The longest body of an oversized message that is skipped rather than taken for a broken stream, in bytes. */
export const MAX_SKIPPED_MESSAGE = 64 * 1024 * 1024;

/** Bytes that were received and not consumed, with the fds that came with them. */
export interface UnreadBytes {
  readonly bytes: Uint8Array;
  /** `at`: the last byte of the read that brought these fds, from the start of `bytes`. Ascending. */
  readonly fdSets: readonly { readonly at: number; readonly fds: readonly number[] }[];
}

/** What {@link Framer.next} found. */
export type Framed = 'message' | 'incomplete' | 'too-big' | 'too-small' | 'broken';

/**
 * Cuts a stream of bytes into messages and gives each the fds that belong to it. Knows nothing of sockets.
 *
 * The kernel ends a read after the piece that carries fds (unix(7), SCM_RIGHTS), so the fds of one read belong to
 * the message that contains the last byte of that read, not to the first message in it.
 */
export class Framer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #max: number;
  /** Unconsumed bytes are bytes[start...end]. */
  #start = 0;
  #end = 0;
  /** Bytes of an oversized message still to be thrown away. */
  #skip = 0;
  /** Stream position of bytes[0]. */
  #base = 0;
  readonly #fdSets: { readonly lastByte: number; readonly fds: number[] }[] = [];
  /** Bounds of the current message, header included. */
  messageStart = 0;
  messageEnd = 0;

  /** `maxMessage` bounds a whole message, header included, in bytes. `unread`: what another framer has left, by {@link remains}. `prepared`: memory of {@link receivedSize}. */
  constructor(maxMessage: number, unread: UnreadBytes = NOTHING_UNREAD, prepared?: Uint8Array) {
    this.#max = maxMessage;
    this.bytes = memoryOf(receivedSize(Math.max(maxMessage, unread.bytes.length)), prepared);
    this.view = new DataView(this.bytes.buffer);
    this.bytes.set(unread.bytes);
    this.#end = unread.bytes.length;
    for (const { at, fds } of unread.fdSets) this.#fdSets.push({ lastByte: at, fds: [...fds] });
  }

  /** What has not been consumed; it stays here. */
  remains(): UnreadBytes {
    const first = this.#base + this.#start;
    // What came with bytes that were thrown away is nobody's.
    const sets = this.#fdSets.filter(({ lastByte }) => lastByte >= first);
    return {
      bytes: this.bytes.slice(this.#start, this.#end),
      fdSets: sets.map(({ lastByte, fds }) => ({ at: lastByte - first, fds: [...fds] })),
    };
  }

  /** Whether an oversized message is being thrown away, of which more has to come. */
  get skipping(): boolean {
    return this.#skip > 0;
  }

  /** Where the next receive goes: bytes[receiveOffset ... + receiveLength]. */
  get receiveOffset(): number {
    return this.#end;
  }

  /** How much to ask for: the rest of a large message alone, so that the next one starts at the front again. */
  get receiveLength(): number {
    const have = this.#end - this.#start;
    const room = this.bytes.length - this.#end;
    if (have < HEADER_SIZE) return room;
    const rest = this.#sizeAt(this.#start) - have;
    return rest > 4096 && rest < room ? rest : room;
  }

  /** Bytes that arrived but are part of no complete message yet. */
  get pending(): number {
    return this.#end - this.#start + this.#skip;
  }

  /** Accounts for `count` bytes that were received at {@link receiveOffset}, and the fds that came with them. */
  push(count: number, fds: readonly number[]): void {
    this.#end += count;
    if (fds.length > 0) this.#fdSets.push({ lastByte: this.#base + this.#end - 1, fds: [...fds] });
  }

  /**
   * Instead of {@link push} and {@link next}: whether `count` bytes without fds that arrived where nothing was are one
   * whole message. If so it is the current one and the buffer is empty again, else nothing has happened.
   */
  pushWhole(count: number): boolean {
    if (this.#end !== 0 || this.#skip !== 0 || this.#fdSets.length > 0) return false;
    if (count < HEADER_SIZE || count > this.#max || this.#sizeAt(0) !== count) return false;
    this.messageStart = 0;
    this.messageEnd = count;
    return true;
  }

  /** Advances to the next message; its bounds are then in messageStart and messageEnd. */
  next(): Framed {
    if (this.#skip > 0) this.#dropSkipped();
    const have = this.#end - this.#start;
    if (this.#skip > 0 || have < HEADER_SIZE) return this.#incomplete();
    const size = this.#sizeAt(this.#start);
    if (size < HEADER_SIZE) return this.#take(HEADER_SIZE, 'too-small');
    if (size > this.#max) return this.#tooBig(size);
    return have < size ? this.#incomplete(size) : this.#take(size, 'message');
  }

  /** How many fds have arrived that nobody has taken yet. */
  get fdCount(): number {
    return this.#fdSets.reduce((count, { fds }) => count + fds.length, 0);
  }

  /** Whether fds have arrived that nobody has taken yet. */
  get hasFds(): boolean {
    return this.#fdSets.length > 0;
  }

  /** The fds of the current message; they belong to the caller from now on. */
  takeFds(): number[] {
    return this.#takeFdsBefore(this.#base + this.messageEnd);
  }

  /** Fds that came with bytes that were thrown away before the current message; they belong to nobody. */
  takeStrayFds(): number[] {
    return this.#takeFdsBefore(this.#base + this.messageStart);
  }

  /** All fds that no message has claimed. */
  takeAllFds(): number[] {
    return this.#takeFdsBefore(Number.POSITIVE_INFINITY);
  }

  #takeFdsBefore(position: number): number[] {
    const taken: number[] = [];
    for (let set = this.#fdSets[0]; set !== undefined && set.lastByte < position; set = this.#fdSets[0]) {
      taken.push(...set.fds);
      this.#fdSets.shift();
    }
    return taken;
  }

  #take(size: number, what: Framed): Framed {
    this.messageStart = this.#start;
    this.messageEnd = this.#start + size;
    this.#start += size;
    return what;
  }

  #tooBig(size: number): Framed {
    if (size > MAX_SKIPPED_MESSAGE) return 'broken';
    this.#skip = size - HEADER_SIZE;
    return this.#take(HEADER_SIZE, 'too-big');
  }

  #dropSkipped(): void {
    const dropped = Math.min(this.#skip, this.#end - this.#start);
    this.#skip -= dropped;
    this.#start += dropped;
  }

  /** Makes room: for free when all is consumed, else by moving the fragment when the message would not fit. */
  #incomplete(size = HEADER_SIZE): Framed {
    if (this.#start === this.#end) this.#moveTo(0);
    else if (this.#start + size > this.bytes.length) this.#moveTo(this.#end - this.#start);
    return 'incomplete';
  }

  #moveTo(kept: number): void {
    if (kept > 0) this.bytes.copyWithin(0, this.#start, this.#end);
    this.#base += this.#start;
    this.#start = 0;
    this.#end = kept;
  }

  #sizeAt(at: number): number {
    return this.view.getUint32(at + SIZE_AT, littleEndian);
  }
}
