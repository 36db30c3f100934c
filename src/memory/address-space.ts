import type { Native } from '../native/index.ts';
import type { AddressSpaceOptions } from './address-space-options.ts';
import { DirtyLog } from './dirty-log.ts';
import { DmaError } from './dma-error.ts';
import type { DmaPort } from './dma-port.ts';
import { hex } from './iova.ts';
import type { MapObserver } from './map-observer.ts';
import { type DmaAccess, MapTable } from './map-table.ts';
import { type DmaMap, type Mapping, roomAt } from './mapping.ts';

/** How an access is possible: at once, or only with messages to the client and therefore asynchronously. */
export type DmaReach = 'direct' | 'message';

/**
 * Guest memory as the device sees it: which IOVAs are mapped, and how to reach them. It belongs to the main
 * connection. Every access is checked as a whole before a byte is transferred, may span adjacent maps, and marks the
 * dirty log when it writes. Errors are {@link DmaError}s, listed in dma-error.ts.
 */
export class AddressSpace {
  /** Where writes of the device are recorded. */
  readonly dirtyLog: DirtyLog;
  readonly #maps: MapTable;
  #port: DmaPort | null = null;

  constructor(native: Native, options: AddressSpaceOptions = {}) {
    this.dirtyLog = options.dirtyLog ?? new DirtyLog();
    this.#maps = new MapTable(native, options);
  }

  /** How many maps exist. */
  get mapCount(): number {
    return this.#maps.size;
  }

  /** Bytes that the device may write, by how it gets there: at once, or only with messages to the client. */
  get writableBytes(): { readonly direct: bigint; readonly message: bigint } {
    return this.#maps.writableBytes;
  }

  /** All maps, as another process makes them again; the fds stay ours, and several maps may have the same. */
  describeMaps(): DmaMap[] {
    return this.#maps.describe();
  }

  /** Changes whenever a map goes away, so that whoever holds a {@link view} can tell whether it may be gone. */
  get generation(): number {
    return this.#maps.generation;
  }

  /**
   * Adds a map; a promise until the observer has done its part. Takes ownership of the fd, which is closed also when
   * this throws. Throws DmaError ERR_DMA_MAP_INVALID, ERR_DMA_MAP_EXISTS, ERR_DMA_MAP_LIMIT, ERR_DMA_MAP_FD, in this
   * order of precedence.
   */
  map(map: DmaMap): void | Promise<void> {
    return this.#maps.add(map);
  }

  /** The map that has exactly this address and size. Throws DmaError ERR_DMA_UNMAP_UNKNOWN. */
  requireMap(iova: bigint, size: bigint): Mapping {
    return this.#maps.require(iova, size);
  }

  /**
   * Removes the map that has exactly this address and size; a promise until the observer has done its part, before which
   * the map stays. Throws DmaError ERR_DMA_UNMAP_UNKNOWN.
   */
  unmap(iova: bigint, size: bigint): void | Promise<void> {
    return this.#maps.remove(iova, size);
  }

  /** Removes every map at once; a promise until the observer has done its part. */
  unmapAll(): void | Promise<void> {
    return this.#maps.removeAll();
  }

  /** The main connection is gone: no maps and no port any more. */
  clear(): void {
    void this.unmapAll();
    this.#port = null;
  }

  /** Chooses who is told of maps from now on, that go by {@link clear} too; null when nobody is. */
  observe(observer: MapObserver | null): void {
    this.#maps.observer = observer;
  }

  /** Who answers message accesses; null when nobody does. */
  get port(): DmaPort | null {
    return this.#port;
  }

  /** Chooses who answers message accesses from now on; null when nobody does. */
  setPort(port: DmaPort | null): void {
    this.#port = port;
  }

  /**
   * How the device can reach `length` bytes at `iova`. Throws DmaError ERR_DMA_UNMAPPED or ERR_DMA_PROTECTED when it
   * can't reach all of them.
   */
  reach(iova: bigint, length: number, access: DmaAccess): DmaReach {
    let reach: DmaReach = 'direct';
    let at = iova;
    for (let left = length; left > 0; ) {
      const mapping = this.#maps.allow(at, access);
      if (mapping.backing === null) reach = 'message';
      left -= Math.min(left, roomAt(mapping, at));
      at = mapping.end;
    }
    return reach;
  }

  /**
   * Guest memory itself, without a copy, when one map that may be read and written holds all of it in one piece;
   * otherwise null. The view becomes empty when the map goes away. Whoever writes through it calls {@link markDirty}
   * after each write.
   */
  view(iova: bigint, length: number): Uint8Array | null {
    const mapping = this.#maps.find(iova);
    if (mapping === undefined || !mapping.readable || !mapping.writable) return null;
    if (length > roomAt(mapping, iova)) return null;
    return mapping.backing?.view(Number(iova - mapping.start), length) ?? null;
  }

  /** Records a write that went through a {@link view}. */
  markDirty(iova: bigint, length: number): void {
    this.dirtyLog.mark(iova, length);
  }

  /** Fills `target` from guest memory. Throws DmaError, ERR_DMA_NEEDS_MESSAGE where only {@link read} can. */
  readSync(iova: bigint, target: Uint8Array): void {
    this.#requireDirect(iova, target.length, 'read');
    for (let done = 0; done < target.length; ) {
      done += this.#transfer(iova, target, done, 'read');
    }
  }

  /** Writes `data` to guest memory. Throws DmaError, ERR_DMA_NEEDS_MESSAGE where only {@link write} can. */
  writeSync(iova: bigint, data: Uint8Array): void {
    this.#requireDirect(iova, data.length, 'write');
    for (let done = 0; done < data.length; ) {
      done += this.#transfer(iova, data, done, 'write');
    }
  }

  /**
   * Fills `target` from guest memory of any kind. Rejects with a DmaError, or with what the port rejected with; then
   * part of `target` may be filled. A map that goes away meanwhile is ERR_DMA_UNMAPPED.
   */
  async read(iova: bigint, target: Uint8Array): Promise<void> {
    this.#requireReachable(iova, target.length, 'read');
    for (let done = 0; done < target.length; ) {
      done += this.#transfer(iova, target, done, 'read') || (await this.#readMessage(iova, target, done));
    }
  }

  /**
   * Writes `data` to guest memory of any kind. Rejects like {@link read}; then part of it may be written. `data` must
   * not change until the promise settles.
   */
  async write(iova: bigint, data: Uint8Array): Promise<void> {
    this.#requireReachable(iova, data.length, 'write');
    for (let done = 0; done < data.length; ) {
      done += this.#transfer(iova, data, done, 'write') || (await this.#writeMessage(iova, data, done));
    }
  }

  /**
   * Moves what one map holds of an access at `iova`, of which `done` bytes are done. Returns the bytes moved: 0 when
   * only messages reach this map.
   */
  #transfer(iova: bigint, bytes: Uint8Array, done: number, access: DmaAccess): number {
    const at = done === 0 ? iova : iova + BigInt(done);
    const mapping = this.#maps.allow(at, access);
    if (mapping.backing === null) return 0;
    const count = Math.min(bytes.length - done, roomAt(mapping, at));
    const offset = Number(at - mapping.start);
    if (access === 'read') {
      mapping.backing.read(offset, bytes, done, count);
      return count;
    }
    try {
      mapping.backing.write(offset, bytes, done, count);
    } finally {
      this.dirtyLog.mark(at, count);
    }
    return count;
  }

  async #readMessage(iova: bigint, target: Uint8Array, done: number): Promise<number> {
    const at = iova + BigInt(done);
    const count = Math.min(target.length - done, roomAt(this.#maps.allow(at, 'read'), at));
    const data = await this.#requirePort(at).read(at, count);
    if (data.length !== count) {
      const message = `the client answered ${data.length} bytes instead of ${count}`;
      throw new DmaError('ERR_DMA_IO', message, { iova: at, expected: count, received: data.length });
    }
    target.set(data, done);
    return count;
  }

  async #writeMessage(iova: bigint, data: Uint8Array, done: number): Promise<number> {
    const at = iova + BigInt(done);
    const count = Math.min(data.length - done, roomAt(this.#maps.allow(at, 'write'), at));
    try {
      await this.#requirePort(at).write(at, data.subarray(done, done + count));
    } finally {
      // Part of a failed write may have arrived.
      this.dirtyLog.mark(at, count);
    }
    return count;
  }

  #requireDirect(iova: bigint, length: number, access: DmaAccess): void {
    if (this.reach(iova, length, access) === 'direct') return;
    throw new DmaError(
      'ERR_DMA_NEEDS_MESSAGE',
      `${hex(iova)} can be reached only by message: use the asynchronous call`,
      {
        iova,
        length,
        access,
      },
    );
  }

  #requireReachable(iova: bigint, length: number, access: DmaAccess): void {
    if (this.reach(iova, length, access) === 'message') this.#requirePort(iova);
  }

  #requirePort(iova: bigint): DmaPort {
    if (this.#port?.connected) return this.#port;
    throw new DmaError('ERR_DMA_NOT_CONNECTED', `nobody is connected who could answer for ${hex(iova)}`, {
      iova,
    });
  }
}
