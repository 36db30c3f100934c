import { DirtyBitmap } from './dirty-bitmap.ts';

/** Bits of one chunk: 512 bytes, which is 16 MiB of 4 KiB pages. */
const CHUNK_BITS = 4096;
/** 32 MiB of bits in all, which is 1 TiB of 4 KiB pages when they lie together. */
const MAX_CHUNKS = 65_536;

/**
 * A set of page numbers (0 to 2^52) of which only the neighbourhood of what is set takes memory. Its memory is
 * bounded: when the pages set are too scattered, one bit stands for 2, 4, 8... pages from then on. So the set may
 * hold more pages than were added, but never fewer.
 */
export class SparsePages {
  readonly #maxChunks: number;
  #chunks = new Map<number, DirtyBitmap>();
  /** How many pages one bit stands for; a power of two. */
  #pagesPerBit = 1;

  constructor(maxChunks = MAX_CHUNKS) {
    this.#maxChunks = Math.max(2, maxChunks);
  }

  /** How many chunks are allocated. */
  get chunkCount(): number {
    return this.#chunks.size;
  }

  /** Adds the pages `[first, end)`; nothing when `end` does not lie behind `first`. */
  add(first: number, end: number): void {
    let page = first;
    while (page < end) {
      const bit = Math.floor(page / this.#pagesPerBit);
      const key = Math.floor(bit / CHUNK_BITS);
      if (!this.#chunks.has(key) && this.#chunks.size >= this.#maxChunks) {
        this.#coarsen();
        continue;
      }
      const chunk = this.#chunkFor(key);
      const base = key * CHUNK_BITS;
      const endBit = Math.min(Math.ceil(end / this.#pagesPerBit), base + CHUNK_BITS);
      chunk.setRange(bit - base, endBit - base);
      page = endBit * this.#pagesPerBit;
    }
  }

  /** Calls `visit` with every run of pages of the set that lies in `[first, end)`, in no order. */
  forEachRun(first: number, end: number, visit: (start: number, end: number) => void): void {
    const unit = this.#pagesPerBit;
    const firstBit = Math.floor(first / unit);
    const endBit = Math.ceil(end / unit);
    this.#forEachChunk(firstBit, endBit, (chunk, base) => {
      const limit = Math.min(CHUNK_BITS, endBit - base);
      let from = chunk.nextSet(Math.max(0, firstBit - base));
      while (from < limit) {
        const to = Math.min(limit, chunk.nextClear(from));
        visit(Math.max(first, (base + from) * unit), Math.min(end, (base + to) * unit));
        from = chunk.nextSet(to);
      }
    });
  }

  /** Removes the pages `[first, end)`, except those that share a bit with a page outside. */
  remove(first: number, end: number): void {
    const firstBit = Math.ceil(first / this.#pagesPerBit);
    const endBit = Math.floor(end / this.#pagesPerBit);
    this.#forEachChunk(firstBit, endBit, (chunk, base, key) => {
      chunk.clearRange(Math.max(0, firstBit - base), Math.min(CHUNK_BITS, endBit - base));
      if (chunk.count === 0) this.#chunks.delete(key);
    });
  }

  /** The chunk with this key, made if need be. */
  #chunkFor(key: number): DirtyBitmap {
    let chunk = this.#chunks.get(key);
    if (chunk === undefined) {
      chunk = new DirtyBitmap(CHUNK_BITS);
      this.#chunks.set(key, chunk);
    }
    return chunk;
  }

  /** Lets each bit stand for twice the pages, until at least half of the allowed chunks are free again. */
  #coarsen(): void {
    do {
      const finer = this.#chunks;
      this.#chunks = new Map();
      this.#pagesPerBit *= 2;
      for (const [key, chunk] of finer) this.#addHalved(key * CHUNK_BITS, chunk);
    } while (this.#chunks.size > this.#maxChunks / 2);
  }

  #addHalved(base: number, chunk: DirtyBitmap): void {
    const key = Math.floor(base / 2 / CHUNK_BITS);
    const target = this.#chunkFor(key);
    const shift = base / 2 - key * CHUNK_BITS;
    for (let from = chunk.nextSet(0); from < CHUNK_BITS; ) {
      const to = chunk.nextClear(from);
      target.setRange(shift + Math.floor(from / 2), shift + Math.ceil(to / 2));
      from = chunk.nextSet(to);
    }
  }

  /** Visits the chunks that overlap the bits `[first, end)`: by key or by list, whichever is shorter. */
  #forEachChunk(
    first: number,
    end: number,
    visit: (chunk: DirtyBitmap, base: number, key: number) => void,
  ): void {
    if (first >= end) return;
    const firstKey = Math.floor(first / CHUNK_BITS);
    const lastKey = Math.floor((end - 1) / CHUNK_BITS);
    if (lastKey - firstKey >= this.#chunks.size) {
      for (const [key, chunk] of this.#chunks) {
        if (key >= firstKey && key <= lastKey) visit(chunk, key * CHUNK_BITS, key);
      }
      return;
    }
    for (let key = firstKey; key <= lastKey; key++) {
      const chunk = this.#chunks.get(key);
      if (chunk !== undefined) visit(chunk, key * CHUNK_BITS, key);
    }
  }
}
