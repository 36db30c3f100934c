import type { Native } from '../native/index.ts';
import { type Backing, type FileRegion, fdError, requireInsideFile, type StatFile } from './backing.ts';
import { DmaError } from './dma-error.ts';

/** A multiple of every page size that Linux has, so that mmap takes any multiple of it as offset. */
const OFFSET_ALIGNMENT = 65_536;
/** One ArrayBuffer holds at most 4 GiB on Node 20, so bigger memory is mapped in windows of this size. */
const WINDOW_SIZE = 2 ** 31;
/** Half of what Linux allows a process by default (vm.max_map_count): when none is left, V8 dies. Makes 64 TiB. */
const MAX_WINDOWS = 32_768;
/** Below this a loop is faster than making a subarray. */
const SMALL_COPY = 32;

/** How {@link MappedBacking.open} maps. */
export interface MapProtection {
  readonly read: boolean;
  readonly write: boolean;
}

/** How many mappings a process may make on behalf of its clients. One budget for each address space. */
export class WindowBudget {
  /** Bytes of one mapping, a multiple of 64 KiB. */
  readonly windowSize: number;
  #left: number;

  constructor(windowSize = WINDOW_SIZE, count = MAX_WINDOWS) {
    this.windowSize = windowSize;
    this.#left = count;
  }

  /** Takes as many windows as `bytes` need and returns their number. Throws DmaError ERR_DMA_MAP_LIMIT. */
  take(bytes: number): number {
    const count = Math.ceil(bytes / this.windowSize);
    if (count > this.#left) {
      throw new DmaError('ERR_DMA_MAP_LIMIT', `${bytes} bytes more can not be mapped: use file access`, {
        bytes,
      });
    }
    this.#left -= count;
    return count;
  }

  /** Gives windows back. */
  give(count: number): void {
    this.#left += count;
  }
}

/** Guest memory mapped into this process. It stays mapped after the fd is closed. */
export class MappedBacking implements Backing {
  readonly #native: Native;
  readonly #budget: WindowBudget;
  /** Where the map begins in the first window, whose offset in the file had to be aligned. */
  readonly #lead: number;
  readonly #windowSize: number;
  readonly #windows: readonly ArrayBuffer[];
  readonly #bytes: readonly Uint8Array[];

  private constructor(native: Native, budget: WindowBudget, lead: number, windows: readonly ArrayBuffer[]) {
    this.#native = native;
    this.#budget = budget;
    this.#lead = lead;
    this.#windowSize = budget.windowSize;
    this.#windows = windows;
    this.#bytes = windows.map((window) => new Uint8Array(window));
  }

  /**
   * Maps a region of a file. First it makes sure that the file can't be shrunk under the mapping, which would kill
   * this process with SIGBUS: by a seal, or where that is impossible by a guard that supplies zero pages. The fd
   * stays the caller's. Throws DmaError ERR_DMA_MAP_FD and ERR_DMA_MAP_LIMIT.
   */
  static open(
    native: Native,
    region: FileRegion,
    protection: MapProtection,
    stat: StatFile,
    budget: WindowBudget,
  ): MappedBacking {
    preventShrinking(native, region.fd);
    requireInsideFile(region, stat);
    const lead = region.offset % OFFSET_ALIGNMENT;
    const bits = (protection.read ? 1 : 0) | (protection.write ? 2 : 0);
    const count = budget.take(lead + region.size);
    const windows: ArrayBuffer[] = [];
    for (let index = 0; index < count; index++) {
      const at = index * budget.windowSize;
      const length = Math.min(budget.windowSize, lead + region.size - at);
      const window = native.map(region.fd, region.offset - lead + at, length, bits);
      if (typeof window === 'number') {
        unmapAll(native, windows);
        budget.give(count);
        throw fdError('the fd can not be mapped', -window);
      }
      windows.push(window);
    }
    return new MappedBacking(native, budget, lead, windows);
  }

  view(offset: number, length: number): Uint8Array | null {
    const at = this.#lead + offset;
    const start = at % this.#windowSize;
    if (start + length > this.#windowSize) return null;
    return this.#windowOf(at).subarray(start, start + length);
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const at = this.#lead + offset + done;
      const start = at % this.#windowSize;
      const count = Math.min(length - done, this.#windowSize - start);
      copy(target, targetOffset + done, this.#windowOf(at), start, count);
      done += count;
    }
  }

  write(offset: number, data: Uint8Array, dataOffset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const at = this.#lead + offset + done;
      const start = at % this.#windowSize;
      const count = Math.min(length - done, this.#windowSize - start);
      copy(this.#windowOf(at), start, data, dataOffset + done, count);
      done += count;
    }
  }

  close(): void {
    unmapAll(this.#native, this.#windows);
    this.#budget.give(this.#windows.length);
  }

  #windowOf(at: number): Uint8Array {
    return this.#bytes[Math.floor(at / this.#windowSize)] ?? EMPTY;
  }
}

const EMPTY = new Uint8Array(0);

/** Seals the file, or else arms the guard. Without either the peer could kill this process. */
function preventShrinking(native: Native, fd: number): void {
  if (native.sealShrink(fd) >= 0) return;
  const guarded = native.guardMappings();
  if (guarded < 0) throw fdError('the mapping can not be guarded against a file that shrinks', -guarded);
}

function unmapAll(native: Native, windows: readonly ArrayBuffer[]): void {
  for (const window of windows) native.unmap(window);
}

function copy(
  target: Uint8Array,
  targetOffset: number,
  source: Uint8Array,
  sourceOffset: number,
  length: number,
): void {
  if (length > SMALL_COPY) {
    target.set(source.subarray(sourceOffset, sourceOffset + length), targetOffset);
    return;
  }
  for (let index = 0; index < length; index++)
    target[targetOffset + index] = source[sourceOffset + index] ?? 0;
}
