import { copyOf } from './bytes.ts';
import { type Checksums, type Crc32Copy, copierOf, FRAME_HEADER_SIZE, writeFrameHeader } from './frame.ts';
import { MAX_FIXED, MAX_PAYLOAD } from './limits.ts';
import type { Link, Staging } from './link.ts';

const MAX_FRAME = FRAME_HEADER_SIZE + MAX_PAYLOAD;

/** A payload that is ready to travel. */
export interface OutgoingFrame {
  readonly kind: number;
  readonly flags: number;
  readonly rawLength: number;
  /** The payload, in one or two pieces. */
  readonly head: Uint8Array;
  readonly body: Uint8Array | null;
  /** Somebody may change the body at any time: what travels is a copy, and the checksum is that of the copy. */
  readonly live: boolean;
}

/** Puts frames on a link, each with its header and checksum, and keeps what the link does not take yet. */
export class FrameWriter {
  /** Of the checksums; changes after the greeting. */
  seed = 0;
  /** Frames that went before, modulo 2^32. */
  place = 0;
  readonly #link: Link;
  readonly #sums: Checksums;
  readonly #copy: Crc32Copy;
  readonly #head = new Uint8Array(FRAME_HEADER_SIZE + MAX_FIXED);
  readonly #view = new DataView(this.#head.buffer);
  /** What the link has not taken yet. */
  readonly #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #spare: Uint8Array | null = null;
  #still: Uint8Array | null = null;

  constructor(link: Link, sums: Checksums) {
    this.#link = link;
    this.#sums = sums;
    this.#copy = copierOf(sums);
  }

  /** Bytes that the link has not taken yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Sends a frame, and returns its size in bytes. It is taken in any case. */
  write(frame: OutgoingFrame, sequence: number): number {
    const { staging } = this.#link;
    if (staging === null) this.#writeInPlace(frame, sequence);
    else this.#writeStaged(frame, sequence, staging);
    this.place = (this.place + 1) % 0x1_0000_0000;
    return FRAME_HEADER_SIZE + frame.head.length + (frame.body?.length ?? 0);
  }

  /** The link takes bytes again. True: nothing waits here any more. */
  flush(): boolean {
    for (let next = this.#pending[0]; next !== undefined; next = this.#pending[0]) {
      const taken = this.#link.write(next, this.#pending[1] ?? null);
      if (taken === 0) return false;
      this.#taken(taken);
      if (this.#pendingBytes > 0 && taken < next.length) return false;
    }
    return true;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#pending.length = 0;
    this.#pendingBytes = 0;
  }

  /** From where the bytes are. */
  #writeInPlace(frame: OutgoingFrame, sequence: number): void {
    const { head } = frame;
    const headSum = this.#sums.crc32(head, this.seed);
    const body = frame.live && frame.body !== null ? this.#stillOf(frame.body) : frame.body;
    const checksum = body === null ? headSum : this.#sumOf(frame, body, headSum);
    this.#writeHeader(frame, sequence, checksum);
    if (head.length > MAX_FIXED) return this.#push(this.#head.subarray(0, FRAME_HEADER_SIZE), head);
    this.#head.set(head, FRAME_HEADER_SIZE);
    this.#push(this.#head.subarray(0, FRAME_HEADER_SIZE + head.length), body);
  }

  /** Where the link wants the bytes: the checksum is computed while they are copied there. */
  #writeStaged(frame: OutgoingFrame, sequence: number, staging: Staging): void {
    const { head, body } = frame;
    const bodyAt = FRAME_HEADER_SIZE + head.length;
    const memory = staging.reserve(bodyAt + (body?.length ?? 0));
    const headSum = this.#copy(memory, FRAME_HEADER_SIZE, head, this.seed);
    this.#writeHeader(frame, sequence, body === null ? headSum : this.#copy(memory, bodyAt, body, headSum));
    memory.set(this.#head.subarray(0, FRAME_HEADER_SIZE));
    staging.commit();
  }

  #writeHeader(
    { kind, flags, rawLength, head, body }: OutgoingFrame,
    sequence: number,
    checksum: number,
  ): void {
    const length = head.length + (body?.length ?? 0);
    const fields = { kind, flags, place: this.place, length, rawLength, sequence, checksum };
    writeFrameHeader(this.#head, this.#view, fields, this.#sums.crc32, this.seed);
  }

  /** Memory for a copy of a body that may change; used again by the next. */
  #stillOf(body: Uint8Array): Uint8Array {
    if (this.#still === null || this.#still.length < body.length) this.#still = new Uint8Array(body.length);
    return this.#still.subarray(0, body.length);
  }

  /** The checksum of what travels, which is copied from the frame's body now if that may change. */
  #sumOf(frame: OutgoingFrame, body: Uint8Array, seed: number): number {
    if (frame.body === null || frame.body === body) return this.#sums.crc32(body, seed);
    return this.#copy(body, 0, frame.body, seed);
  }

  /** Gives the link what it takes, and keeps a copy of the rest. */
  #push(head: Uint8Array, body: Uint8Array | null): void {
    const taken = this.#pending.length > 0 ? 0 : this.#link.write(head, body);
    if (taken < head.length) this.#keep(head.subarray(taken));
    if (body !== null) this.#keep(body.subarray(Math.max(0, taken - head.length)));
  }

  #keep(rest: Uint8Array): void {
    if (rest.length === 0) return;
    this.#pending.push(this.#pendingBytes === 0 ? this.#inSpare(rest) : copyOf(rest));
    this.#pendingBytes += rest.length;
  }

  /** A copy in memory that is used again and again: it is free whenever nothing is pending. */
  #inSpare(rest: Uint8Array): Uint8Array {
    this.#spare ??= new Uint8Array(MAX_FRAME);
    if (rest.length > this.#spare.length) return copyOf(rest);
    this.#spare.set(rest);
    return this.#spare.subarray(0, rest.length);
  }

  /** The link has taken so much of what is pending. */
  #taken(count: number): void {
    this.#pendingBytes -= count;
    for (let left = count; left > 0; ) {
      const next = this.#pending.shift();
      if (next === undefined) return;
      if (left < next.length) this.#pending.unshift(next.subarray(left));
      left -= next.length;
    }
  }
}
