import { DirtyBitmap } from '../../memory/index.ts';
import { type DirtyRun, PAGE_SIZE } from '../../stream/index.ts';

/** Compared at a time before looking at single pages. */
const STRIDE = 64 * 1024;
const ZEROS = Buffer.alloc(PAGE_SIZE);

/**
 * Which pages of a memory have to be sent. What is written behind its back is found by comparing with a copy of what
 * was sent, see {@link keepCopy}; without it only {@link mark} counts.
 */
export class PageTracker {
  readonly #live: Buffer;
  readonly #dirty: DirtyBitmap;
  /** The page after the last run taken; runs go round in ascending order. */
  #cursor = 0;
  #lastRun = { first: 0, end: 0 };
  /** What was sent of every clean page; null while all writes are reported. */
  #sent: Buffer | null = null;

  /** Tracks `memory`, a whole number of pages; all of them count as dirty. */
  constructor(memory: Uint8Array) {
    this.#live = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
    this.#dirty = new DirtyBitmap(memory.byteLength / PAGE_SIZE);
    this.#dirty.setRange(0, this.#dirty.length);
  }

  get dirtyBytes(): number {
    return this.#dirty.count * PAGE_SIZE;
  }

  /** The bytes at `offset` were written. */
  mark(offset: number, length: number): void {
    if (length === 0) return;
    this.#dirty.setRange(Math.floor(offset / PAGE_SIZE), Math.ceil((offset + length) / PAGE_SIZE));
  }

  /**
   * From now on writes may go unseen. Pages that are clean now were sent as they are; only the last run may still be
   * on its way out of the live memory, so it is sent once more.
   */
  keepCopy(): void {
    const nothingSent = this.#dirty.count === this.#dirty.length;
    this.#sent = nothingSent ? Buffer.alloc(this.#live.length) : Buffer.from(this.#live);
    this.#dirty.setRange(this.#lastRun.first, this.#lastRun.end);
  }

  /** Marks every page that differs from what was sent. Exact: bytes are compared, not hashes. */
  refresh(): void {
    const sent = this.#sent;
    if (sent === null) return;
    for (let at = 0; at < sent.length; at += STRIDE) {
      const end = Math.min(at + STRIDE, sent.length);
      if (differs(this.#live, sent, at, end)) this.#refreshPages(sent, at / PAGE_SIZE, end / PAGE_SIZE);
    }
  }

  /**
   * The next run of dirty pages that are either all zero or all not, clean afterwards. A page is first copied, then
   * looked at and sent from the copy, so that a writer cannot come in between.
   */
  take(limit: number): DirtyRun | null {
    const first = this.#nextDirty();
    if (first === this.#dirty.length) return null;
    const stop = Math.min(this.#dirty.nextClear(first), first + Math.max(1, Math.floor(limit / PAGE_SIZE)));
    const zero = this.#capture(first);
    let end = first + 1;
    while (end < stop && this.#capture(end) === zero) end += 1;
    this.#dirty.clearRange(first, end);
    this.#cursor = end;
    this.#lastRun = { first, end };
    const [offset, length] = [first * PAGE_SIZE, (end - first) * PAGE_SIZE];
    const source = this.#sent ?? this.#live;
    return { offset, length, bytes: zero ? null : source.subarray(offset, offset + length) };
  }

  /** The next dirty page, going round; the number of pages when there is none. */
  #nextDirty(): number {
    const next = this.#dirty.nextSet(this.#cursor);
    return next < this.#dirty.length ? next : this.#dirty.nextSet(0);
  }

  /** Takes the snapshot of a page if there are any; whether it is all zero. */
  #capture(page: number): boolean {
    const at = page * PAGE_SIZE;
    const end = at + PAGE_SIZE;
    if (this.#sent !== null) this.#live.copy(this.#sent, at, at, end);
    const source = this.#sent ?? this.#live;
    return source[at] === 0 && source.compare(ZEROS, 0, PAGE_SIZE, at, end) === 0;
  }

  #refreshPages(sent: Buffer, first: number, end: number): void {
    for (let page = first; page < end; page += 1) {
      const at = page * PAGE_SIZE;
      if (!this.#dirty.test(page) && differs(this.#live, sent, at, at + PAGE_SIZE)) this.#dirty.set(page);
    }
  }
}

function differs(a: Buffer, b: Buffer, start: number, end: number): boolean {
  return a.compare(b, start, end, start, end) !== 0;
}
