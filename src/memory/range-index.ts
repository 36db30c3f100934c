/** Something that occupies the addresses `[start, end)`. */
export interface Ranged {
  readonly start: bigint;
  readonly end: bigint;
}

/** Ranges that do not overlap, in order of their addresses. Finding one takes logarithmic time. */
export class RangeIndex<T extends Ranged> {
  readonly #items: T[] = [];
  /** The last one found: a device touches the same memory again and again. */
  #recent: T | undefined;

  /** How many ranges there are. */
  get size(): number {
    return this.#items.length;
  }

  /** All ranges, in order. */
  values(): IterableIterator<T> {
    return this.#items.values();
  }

  /** The range that contains `address`. */
  find(address: bigint): T | undefined {
    const recent = this.#recent;
    if (recent !== undefined && address >= recent.start && address < recent.end) return recent;
    const item = this.#items[this.#lastStartingAt(address)];
    if (item === undefined || address >= item.end) return undefined;
    this.#recent = item;
    return item;
  }

  /** A range that overlaps `[start, end)`, if there is one. */
  overlapping(start: bigint, end: bigint): T | undefined {
    const item = this.#items[this.#lastStartingAt(end - 1n)];
    return item !== undefined && item.end > start ? item : undefined;
  }

  /** Adds a range that overlaps none. */
  add(item: T): void {
    this.#items.splice(this.#lastStartingAt(item.start) + 1, 0, item);
  }

  /** Removes and returns the range that is exactly `[start, end)`. */
  remove(start: bigint, end: bigint): T | undefined {
    const index = this.#lastStartingAt(start);
    const item = this.#items[index];
    if (item === undefined || item.start !== start || item.end !== end) return undefined;
    this.#items.splice(index, 1);
    this.#recent = undefined;
    return item;
  }

  /** Removes and returns all ranges. */
  removeAll(): T[] {
    this.#recent = undefined;
    return this.#items.splice(0);
  }

  /** The index of the last range that starts at or before `address`, or -1. */
  #lastStartingAt(address: bigint): number {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const item = this.#items[middle];
      if (item !== undefined && item.start <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
