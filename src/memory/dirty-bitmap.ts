const WORD_BITS = 32;
/** Bit numbers stay below 2^31, so that bit operations on them are exact: 8 TiB of 4 KiB pages. */
const MAX_BITS = 2 ** 31 - 1;

/**
 * One bit for each page of something, numbered from 0. Setting, clearing and walking allocate nothing, so a device
 * may mark pages on every write. Walk the dirty runs like this:
 *
 *     for (let start = bits.nextSet(0); start < bits.length; start = bits.nextSet(end)) {
 *       end = bits.nextClear(start);
 *     }
 *
 * Every range is half-open, `[start, end)`. A bit or range outside the bitmap is a RangeError.
 */
export class DirtyBitmap {
  /** How many bits there are: 0 to 2^31 - 1. */
  readonly length: number;
  #words: Uint32Array;
  #count = 0;

  constructor(length: number) {
    if (!Number.isInteger(length) || length < 0 || length > MAX_BITS) {
      throw new RangeError(`a bitmap has 0 to ${MAX_BITS} bits, not ${length}`);
    }
    this.length = length;
    this.#words = new Uint32Array(Math.ceil(length / WORD_BITS));
  }

  /** How many bits are set. Costs nothing. */
  get count(): number {
    return this.#count;
  }

  /** Sets one bit. */
  set(bit: number): void {
    this.setRange(bit, bit + 1);
  }

  /** Whether a bit is set. */
  test(bit: number): boolean {
    this.#requireRange(bit, bit + 1);
    return ((this.#word(bit >>> 5) >>> (bit & 31)) & 1) === 1;
  }

  /** Sets every bit of `[start, end)`. */
  setRange(start: number, end: number): void {
    this.#requireRange(start, end);
    for (let at = start; at < end; at = wordEnd(at)) {
      const mask = maskFrom(at, end);
      const word = this.#word(at >>> 5);
      this.#count += popcount(mask & ~word);
      this.#words[at >>> 5] = word | mask;
    }
  }

  /** Clears every bit of `[start, end)`. */
  clearRange(start: number, end: number): void {
    this.#requireRange(start, end);
    for (let at = start; at < end; at = wordEnd(at)) {
      const mask = maskFrom(at, end);
      const word = this.#word(at >>> 5);
      this.#count -= popcount(mask & word);
      this.#words[at >>> 5] = word & ~mask;
    }
  }

  /** The first set bit at or after `from`, or `length` when there is none. */
  nextSet(from: number): number {
    return this.#next(from, 0);
  }

  /** The first clear bit at or after `from`, or `length` when there is none. */
  nextClear(from: number): number {
    return this.#next(from, -1);
  }

  /**
   * Hands everything over to `other` and becomes empty, without copying: what is marked from now on belongs to the
   * next round. What `other` held is lost. Both must have the same length.
   */
  takeInto(other: DirtyBitmap): void {
    if (other.length !== this.length || other === this) {
      throw new RangeError(`a bitmap of ${this.length} bits can't be taken into this one of ${other.length}`);
    }
    const emptied = other.#words;
    other.#words = this.#words;
    other.#count = this.#count;
    this.#words = emptied.fill(0);
    this.#count = 0;
  }

  #next(from: number, flip: 0 | -1): number {
    if (from >= this.length) return this.length;
    this.#requireRange(from, from + 1);
    let index = from >>> 5;
    let bits = (this.#word(index) ^ flip) & (-1 << (from & 31));
    while (bits === 0) {
      index++;
      if (index >= this.#words.length) return this.length;
      bits = this.#word(index) ^ flip;
    }
    return Math.min(this.length, index * WORD_BITS + 31 - Math.clz32(bits & -bits));
  }

  #word(index: number): number {
    return this.#words[index] ?? 0;
  }

  #requireRange(start: number, end: number): void {
    if (start >= 0 && start <= end && end <= this.length && Number.isInteger(start) && Number.isInteger(end))
      return;
    throw new RangeError(`bits ${start} to ${end} lie outside a bitmap of ${this.length} bits`);
  }
}

/** The first bit of the next word. */
function wordEnd(at: number): number {
  return (at | 31) + 1;
}

/** The bits of the word of `at` that lie in `[at, end)`. */
function maskFrom(at: number, end: number): number {
  const left = end - (at - (at & 31));
  const upper = left >= WORD_BITS ? -1 : (1 << left) - 1;
  return upper & (-1 << (at & 31));
}

function popcount(word: number): number {
  let bits = word - ((word >>> 1) & 0x5555_5555);
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
