import { HEADER_SIZE, littleEndian } from '../protocol/index.ts';

/** Offset of msg_size in the header. */
const SIZE_AT = 4;

/** The longest message of which everything is kept, in bytes; of a longer one its beginning is. */
export const MAX_KEPT = 32 * 1024 * 1024;

/** The longest message that is believed in, in bytes: what says that it is longer is no vfio-user. */
const MAX_MESSAGE = 64 * 1024 * 1024;

/** What a piece of a stream completed. */
export interface Assembled<F> {
  /** False: the bytes are no message, because where messages begin has been lost, or the stream ended inside one. */
  readonly isMessage: boolean;
  readonly bytes: Uint8Array;
  /** Its length on the wire, which is more than is kept of a very long one. */
  readonly wireSize: number;
  readonly fds: readonly F[];
}

/**
 * Puts messages together from the pieces in which a stream passed by. What is kept grows with what has come, never with
 * what a header promises. Fds of a piece belong to the message that contains its last byte.
 */
export class MessageAssembler<F> {
  /** Whether every size so far was one that a message can have. When not, pieces come out as they went in. */
  understood = true;
  #buffer = new Uint8Array(64 * 1024);
  #kept = 0;
  /** Bytes of the message under way that have come; more than #kept when it is too long to be kept. */
  #have = 0;
  #fds: F[] = [];

  /** Takes a piece, which it copies; returns what it completes. */
  push(piece: Uint8Array, fds: readonly F[]): Assembled<F>[] {
    const done: Assembled<F>[] = [];
    let at = 0;
    while (at < piece.length) {
      if (!this.understood) return [...done, ...this.#asTheyAre(piece.subarray(at), fds)];
      at += this.#take(piece, at);
      const last = at === piece.length;
      if (last) this.#fds.push(...fds);
      if (!this.understood || this.#size() <= this.#have) done.push(this.#finish(true));
    }
    return done;
  }

  /** The stream has ended: what is left of it, or null. */
  end(): Assembled<F> | null {
    return this.#have === 0 ? null : this.#finish(false);
  }

  /** The size of the message under way; as much as is needed to know it while it is not known. */
  #size(): number {
    if (this.#have < HEADER_SIZE) return HEADER_SIZE + 1;
    return new DataView(this.#buffer.buffer).getUint32(SIZE_AT, littleEndian);
  }

  /** Adds from the piece what belongs to the message under way; returns how many bytes those are. */
  #take(piece: Uint8Array, at: number): number {
    const wanted = this.#have < HEADER_SIZE ? HEADER_SIZE - this.#have : this.#size() - this.#have;
    const taken = Math.min(wanted, piece.length - at);
    this.#keep(piece.subarray(at, at + taken));
    this.#have += taken;
    if (this.#have === HEADER_SIZE) this.understood = isPossible(this.#size());
    return taken;
  }

  #keep(bytes: Uint8Array): void {
    const room = MAX_KEPT - this.#kept;
    const kept = bytes.length > room ? bytes.subarray(0, room) : bytes;
    const needed = this.#kept + kept.length;
    if (needed > this.#buffer.length) this.#grow(needed);
    this.#buffer.set(kept, this.#kept);
    this.#kept = needed;
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.min(MAX_KEPT, Math.max(needed, 2 * this.#buffer.length)));
    larger.set(this.#buffer.subarray(0, this.#kept));
    this.#buffer = larger;
  }

  #finish(isMessage: boolean): Assembled<F> {
    const done = {
      isMessage: isMessage && this.understood,
      bytes: this.#buffer.slice(0, this.#kept),
      wireSize: this.#have,
      fds: this.#fds,
    };
    this.#have = 0;
    this.#kept = 0;
    this.#fds = [];
    return done;
  }

  #asTheyAre(piece: Uint8Array, fds: readonly F[]): Assembled<F>[] {
    const before = this.#have > 0 ? [this.#finish(false)] : [];
    return [...before, { isMessage: false, bytes: piece.slice(), wireSize: piece.length, fds }];
  }
}

function isPossible(size: number): boolean {
  return size >= HEADER_SIZE && size <= MAX_MESSAGE;
}
