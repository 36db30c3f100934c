import { check, loadNative, type Native } from '../native/index.ts';
import { ClientError } from './client-error.ts';

/**
 * How a device reaches a region of guest memory: by mapping its file, by reading and writing its file, or by DMA_READ
 * and DMA_WRITE messages.
 */
export type GuestAccess = 'mmap' | 'file' | 'message';

/** A region of guest memory. */
export interface GuestRegion {
  /** Where the guest has it: the address that the device uses. */
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly access: GuestAccess;
  /** The device may read it. */
  readonly readable: boolean;
  /** The device may write it. */
  readonly writable: boolean;
  /** The memfd behind it; null when it is reached by message only. */
  readonly fd: number | null;
  /** Its content, shared with whoever maps the fd. */
  readonly bytes: Uint8Array;
}

/** What {@link GuestMemory.add} is told. */
export interface GuestRegionOptions {
  readonly iova: bigint;
  /** Bytes, a multiple of the page size unless the access is by message. */
  readonly size: number | bigint;
  /** `mmap` by default. */
  readonly access?: GuestAccess;
  readonly readable?: boolean;
  readonly writable?: boolean;
}

const PAGE_SIZE = 4096;
const ADDRESS_SPACE = 1n << 64n;

/**
 * The memory of a guest. It belongs to no client: when a device moves, the clients of both servers map the same
 * regions.
 */
export class GuestMemory {
  readonly #native: Native;
  readonly #regions = new Map<GuestRegion, ArrayBuffer | null>();

  constructor(native: Native = loadNative()) {
    this.#native = native;
  }

  /** All regions, in the order in which they were added. */
  get regions(): readonly GuestRegion[] {
    return [...this.#regions.keys()];
  }

  /**
   * Adds a region of zeros. Throws ClientError ERR_CLIENT_ARGUMENT when it overlaps another or passes 2^64, NativeError
   * when the memory can't be had.
   */
  add(options: GuestRegionOptions): GuestRegion {
    const size = BigInt(options.size);
    this.#checkRange(options.iova, size);
    const { access = 'mmap', readable = true, writable = true } = options;
    const length = Number(size);
    const fd = access === 'message' ? null : this.#memfd(length);
    const shared = fd === null ? null : this.#map(fd, length);
    const bytes = shared === null ? new Uint8Array(length) : new Uint8Array(shared);
    const region: GuestRegion = { iova: options.iova, size, access, readable, writable, fd, bytes };
    this.#regions.set(region, shared);
    return region;
  }

  /** Frees a region; its bytes detach. Unmap it from the devices first. Idempotent. */
  remove(region: GuestRegion): void {
    const shared = this.#regions.get(region);
    if (!this.#regions.delete(region)) return;
    if (shared !== undefined && shared !== null) this.#native.unmap(shared);
    if (region.fd !== null) this.#native.close(region.fd);
  }

  /** Frees everything. */
  close(): void {
    for (const region of this.regions) this.remove(region);
  }

  #checkRange(iova: bigint, size: bigint): void {
    const end = iova + size;
    if (iova < 0n || size <= 0n || end > ADDRESS_SPACE || size > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw bad('lies outside the 64-bit address space, or is empty', iova, size);
    }
    for (const other of this.#regions.keys()) {
      if (iova < other.iova + other.size && other.iova < end)
        throw bad('overlaps another region', iova, size);
    }
  }

  #memfd(length: number): number {
    if (length % PAGE_SIZE !== 0) throw bad('has a size that is no multiple of 4096', 0n, BigInt(length));
    return check(this.#native.memfd('guest-memory', length, true), 'memfd', { size: length });
  }

  #map(fd: number, length: number): ArrayBuffer {
    const shared = this.#native.map(fd, 0, length, READ | WRITE);
    if (typeof shared === 'number') this.#native.close(fd);
    return check(shared, 'map', { size: length });
  }
}

/** Protection bits of Native.map. */
const READ = 1;
const WRITE = 2;

function bad(why: string, iova: bigint, size: bigint): ClientError {
  const context = { iova, size };
  return new ClientError('ERR_CLIENT_ARGUMENT', `a region of guest memory ${why}`, context);
}
