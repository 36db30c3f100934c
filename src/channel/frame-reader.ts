import { plain } from './bytes.ts';
import { ChannelError } from './channel-error.ts';
import { isOrdered } from './control-messages.ts';
import { type Checksums, type Crc32Copy, copierOf, FRAME_HEADER_SIZE, type FrameFields } from './frame.ts';
import { frameName, readFrameHeader } from './frame-check.ts';
import { MAX_PAYLOAD } from './limits.ts';
import { Segments } from './segments.ts';

/** How much is received at once while small frames come, in bytes. */
const GREEDY = 64 * 1024;
/** From how many bytes on a payload is large. */
const LARGE = 4 * GREEDY;
/** Less than this is not checksummed on its own, in bytes. */
const BATCH = 64 * 1024;
/** What has been received is checksummed at once; this much stays in the cache meanwhile, in bytes. */
const MOST = 256 * 1024;

/** Two of the largest frames. */
const SEGMENT_SIZE = 2 * (FRAME_HEADER_SIZE + MAX_PAYLOAD) + GREEDY;
/** How much of a segment is used at least, however frames are sized: a third may stay empty. */
const FILLING = 0.6;

/** A verified frame that waits in the buffer of its reader until it is released. */
export interface ParkedFrame {
  readonly kind: number;
  readonly flags: number;
  readonly sequence: number;
  readonly rawLength: number;
  /** The payload as it came. Valid until the frame is released. */
  readonly payload: Uint8Array;
  readonly segment: number;
}

/** How a reader is set up. */
export interface FrameReaderOptions extends Checksums {
  /** Bytes of unreleased frames at most, headers included. */
  readonly window: number;
  /** Gets every frame once it is verified; those without a place in the order are released when this returns. May throw. */
  readonly accept: (frame: ParkedFrame) => void;
}

/**
 * Cuts the bytes of one connection into verified frames, in place: bytes are received into {@link buffer} where
 * {@link offset} says, and a frame is looked at where it was received. The memory is bounded by the window.
 */
export class FrameReader {
  readonly buffer: Uint8Array;
  /** Where the next bytes belong. */
  offset = 0;
  /** Of the checksums; changes after the greeting. */
  seed = 0;
  /** Frames that were read. */
  frames = 0;
  readonly #view: DataView;
  readonly #options: FrameReaderOptions;
  readonly #copy: Crc32Copy;
  readonly #segments: Segments;
  #segment = 0;
  /** Bytes before this are frames that were handed out. */
  #parsed = 0;
  /** Bytes of this segment before this belong to frames that may still be looked at. */
  #kept = 0;
  /** The header of the frame whose payload is being received. */
  #frame: FrameFields | null = null;
  /** Of its payload, as far as #checked. */
  #checksum = 0;
  #checked = 0;
  #parkedBytes = 0;

  constructor(options: FrameReaderOptions) {
    const count = Math.ceil(options.window / (SEGMENT_SIZE * FILLING)) + 2;
    this.#options = options;
    this.#copy = copierOf(options);
    this.#segments = new Segments(count, SEGMENT_SIZE);
    // Not zeroed: a page that is never received into takes no memory.
    this.buffer = plain(Buffer.allocUnsafeSlow(count * SEGMENT_SIZE));
    this.#view = new DataView(this.buffer.buffer);
  }

  /** How many bytes may be received at {@link offset}; at least 1. */
  get room(): number {
    const end = this.#segments.start(this.#segment) + SEGMENT_SIZE;
    const wanted = this.#wanted;
    // A header left over would be a receive of its own.
    return Math.min(wanted <= MOST + FRAME_HEADER_SIZE ? wanted : MOST, end - this.offset);
  }

  /**
   * Of a large frame exactly the rest and the next header: then the next payload can be received to the start of the
   * segment, and not a byte is ever moved. Of small ones as many as come.
   */
  get #wanted(): number {
    if (this.#frame === null || this.#frame.length < LARGE) return GREEDY;
    return this.#payloadEnd(this.#frame) - this.offset + FRAME_HEADER_SIZE;
  }

  /** Whether bytes of an incomplete frame are there. */
  get midFrame(): boolean {
    return this.#frame !== null || this.offset > this.#parsed;
  }

  /** Copies bytes to {@link offset}; those of a payload are checksummed on the way. */
  put(bytes: Uint8Array): void {
    const rest = this.#frame === null ? 0 : this.#payloadEnd(this.#frame) - this.offset;
    const count = this.#checked === this.offset ? Math.min(rest, bytes.length) : 0;
    if (count > 0) {
      const part = count === bytes.length ? bytes : bytes.subarray(0, count);
      this.#checksum = this.#copy(this.buffer, this.offset, part, this.#checksum);
      this.#checked += count;
    }
    if (count < bytes.length) this.buffer.set(bytes.subarray(count), this.offset + count);
  }

  /**
   * `count` bytes have been received at {@link offset}.
   * @throws ChannelError, and whatever `accept` throws
   */
  received(count: number): void {
    this.offset += count;
    if (this.#mayWait()) return;
    while (this.#frame === null ? this.#readHeader() : this.#readPayload(this.#frame));
    if (this.#frame === null) this.#makeRoom();
  }

  /** Whether more of a payload can come before it is worth a checksum: streams bring it in small pieces. */
  #mayWait(): boolean {
    if (this.#frame === null || this.offset - this.#checked >= BATCH) return false;
    return this.offset < this.#payloadEnd(this.#frame);
  }

  /** A frame has been handled; its bytes may be overwritten. */
  release(frame: ParkedFrame): void {
    this.#segments.release(frame.segment);
    this.#parkedBytes -= FRAME_HEADER_SIZE + frame.payload.length;
  }

  /** Takes a header if it is there; false when more bytes are needed. */
  #readHeader(): boolean {
    if (this.offset - this.#parsed < FRAME_HEADER_SIZE) return false;
    const { crc32, window } = this.#options;
    const frame = readFrameHeader(this.buffer, this.#view, this.#parsed, this.frames, crc32, this.seed);
    if (isOrdered(frame.kind) && this.#parkedBytes + FRAME_HEADER_SIZE + frame.length > window)
      throw overrun();
    this.#frame = frame;
    this.#parsed += FRAME_HEADER_SIZE;
    this.#placePayload(frame.length);
    this.#checksum = this.seed;
    this.#checked = this.#parsed;
    return true;
  }

  /** Takes the payload if it is there; false when more bytes are needed. */
  #readPayload(frame: FrameFields): boolean {
    const end = this.#payloadEnd(frame);
    const have = Math.min(end, this.offset);
    if (have > this.#checked) {
      this.#checksum = this.#options.crc32(this.buffer.subarray(this.#checked, have), this.#checksum);
      this.#checked = have;
    }
    if (have < end) return false;
    if (this.#checksum !== frame.checksum) {
      const what = `${frameName(frame.kind)} (frame ${this.frames})`;
      throw new ChannelError('ERR_CHANNEL_CHECKSUM', `${what} was changed on the way`);
    }
    const payload = this.buffer.subarray(this.#parsed, end);
    this.#frame = null;
    this.frames += 1;
    const { kind, flags, sequence, rawLength } = frame;
    this.#handOut({ kind, flags, sequence, rawLength, payload, segment: this.#segment }, end);
    return true;
  }

  #handOut(frame: ParkedFrame, end: number): void {
    this.#parsed = end;
    this.#segments.hold(frame.segment);
    this.#parkedBytes += FRAME_HEADER_SIZE + frame.payload.length;
    this.#options.accept(frame);
    if (isOrdered(frame.kind)) this.#kept = end;
    else this.release(frame);
  }

  /** Sees to it that the payload has room: where it begins if it can, else at the start of a free segment. */
  #placePayload(length: number): void {
    const end = this.#segments.start(this.#segment) + SEGMENT_SIZE;
    const fresh = this.offset === this.#parsed && this.#segments.free(this.#segment);
    if (fresh) this.#moveTo(this.#segment);
    else if (Math.max(this.#parsed + length, this.offset) + FRAME_HEADER_SIZE > end)
      this.#moveOn(length + FRAME_HEADER_SIZE);
  }

  /** Before a header: sees to it that there is room for one and some more. */
  #makeRoom(): void {
    const end = this.#segments.start(this.#segment) + SEGMENT_SIZE;
    if (this.offset === this.#parsed && this.#segments.free(this.#segment)) this.#moveTo(this.#segment);
    else if (this.#parsed + GREEDY > end) this.#moveOn(GREEDY);
  }

  /**
   * Makes room for so many bytes from #parsed on: over frames that left nothing behind, if that is enough (otherwise signs
   * of life would fill the segment of a waiting frame), else in a free segment, this one if nothing lives in it.
   */
  #moveOn(bytes: number): void {
    const end = this.#segments.start(this.#segment) + SEGMENT_SIZE;
    const free = this.#segments.free(this.#segment);
    if (!free && this.#kept + Math.max(bytes, this.offset - this.#parsed) <= end)
      return this.#move(this.#kept);
    const next = free ? this.#segment : this.#segments.firstFree();
    if (next === null) throw overrun();
    this.#moveTo(next);
  }

  /** Goes on at the start of a segment, with what is there of the current frame. */
  #moveTo(segment: number): void {
    this.#kept = this.#segments.start(segment);
    this.#segment = segment;
    this.#move(this.#kept);
  }

  #move(to: number): void {
    this.buffer.copyWithin(to, this.#parsed, this.offset);
    this.offset = to + this.offset - this.#parsed;
    this.#parsed = to;
  }

  #payloadEnd(frame: FrameFields): number {
    return this.#parsed + frame.length;
  }
}

function overrun(): ChannelError {
  return new ChannelError('ERR_CHANNEL_WINDOW', 'the other side sent more than its window allows');
}
