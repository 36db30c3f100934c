import { Errno } from '../errors/index.ts';
import type { GuestRegion } from './guest-memory.ts';

/** The regions of guest memory that one device may use, for answering its DMA messages. */
export class MappedMemory {
  /** Ascending by IOVA, without overlaps. */
  readonly #regions: GuestRegion[] = [];

  /** All regions, ascending. */
  get regions(): readonly GuestRegion[] {
    return this.#regions;
  }

  /** Whether this very region is mapped. */
  has(region: GuestRegion): boolean {
    return this.#regions.includes(region);
  }

  /** Adds a region that overlaps none of the others. */
  add(region: GuestRegion): void {
    const at = this.#regions.findIndex((other) => other.iova > region.iova);
    this.#regions.splice(at < 0 ? this.#regions.length : at, 0, region);
  }

  /** Removes a region; unknown ones are ignored. */
  remove(region: GuestRegion): void {
    const at = this.#regions.indexOf(region);
    if (at >= 0) this.#regions.splice(at, 1);
  }

  /** Removes all. */
  clear(): void {
    this.#regions.length = 0;
  }

  /** EFAULT when some byte is not mapped, EACCES when some may not be accessed so; otherwise 0. */
  check(iova: bigint, count: number, access: 'readable' | 'writable'): number {
    const end = iova + BigInt(count);
    let next = iova;
    for (let i = this.#indexOf(iova); next < end; i += 1) {
      const region = this.#regions[i];
      if (region === undefined || region.iova > next || region.iova + region.size <= next)
        return Errno.EFAULT;
      if (!region[access]) return Errno.EACCES;
      next = region.iova + region.size;
    }
    return 0;
  }

  /** Copies `count` bytes at `iova` to `target[at...]`; {@link check} has approved of them. */
  read(iova: bigint, count: number, target: Uint8Array, at: number): void {
    this.#each(iova, count, (bytes, done) => target.set(bytes, at + done));
  }

  /** Copies `source[at ... at + count]` to `iova`; {@link check} has approved of it. */
  write(iova: bigint, count: number, source: Uint8Array, at: number): void {
    this.#each(iova, count, (bytes, done) => bytes.set(source.subarray(at + done, at + done + bytes.length)));
  }

  /** Visits the pieces of a range, one for each region that it touches. */
  #each(iova: bigint, count: number, visit: (bytes: Uint8Array, done: number) => void): void {
    let done = 0;
    for (let i = this.#indexOf(iova); done < count; i += 1) {
      const region = this.#regions[i];
      if (region === undefined) return;
      const start = Number(iova + BigInt(done) - region.iova);
      const piece = region.bytes.subarray(start, start + count - done);
      visit(piece, done);
      done += piece.length;
    }
  }

  /** Index of the last region that begins at or before `iova`; 0 when none does. */
  #indexOf(iova: bigint): number {
    let low = 0;
    let high = this.#regions.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const region = this.#regions[middle];
      if (region !== undefined && region.iova <= iova) low = middle;
      else high = middle;
    }
    return low;
  }
}
