import type { Native } from '../native/index.ts';
import type { AddressSpaceOptions } from './address-space-options.ts';
import { DmaError } from './dma-error.ts';
import { hex } from './iova.ts';
import { KeptFds } from './kept-fds.ts';
import { type MapObserver, rangeOf } from './map-observer.ts';
import { WindowBudget } from './mapped-backing.ts';
import {
  closeMapping,
  type DmaMap,
  describeMapping,
  type Mapping,
  type MappingSystem,
  noSuchMap,
  openMapping,
  requireValidMap,
  statFile,
} from './mapping.ts';
import { RangeIndex } from './range-index.ts';

/** As many maps as a server allows unless told otherwise (`max_dma_maps` of the vfio-user text). */
const DEFAULT_MAX_MAPS = 65_535;

/** What a device wants to do with guest memory. */
export type DmaAccess = 'read' | 'write';

/** Which IOVAs are mapped to what: the maps of an {@link AddressSpace}, and who is told of them. */
export class MapTable {
  /** Who is told of maps; null when nobody is. */
  observer: MapObserver | null = null;
  readonly #system: MappingSystem;
  readonly #maxMaps: number;
  readonly #maps = new RangeIndex<Mapping>();
  #generation = 0;

  constructor(native: Native, options: AddressSpaceOptions) {
    this.#maxMaps = options.maxMaps ?? DEFAULT_MAX_MAPS;
    const stat = options.stat ?? statFile;
    const windows = options.windows ?? new WindowBudget();
    this.#system = { native, stat, windows, files: new KeptFds(native, stat) };
  }

  /** How many maps exist. */
  get size(): number {
    return this.#maps.size;
  }

  /** Changes whenever a map goes away. */
  get generation(): number {
    return this.#generation;
  }

  /** Bytes that the device may write, by how it gets there. */
  get writableBytes(): { readonly direct: bigint; readonly message: bigint } {
    const bytes = { direct: 0n, message: 0n };
    for (const { start, end, writable, backing } of this.#maps.values())
      if (writable) bytes[backing === null ? 'message' : 'direct'] += end - start;
    return bytes;
  }

  /** All maps, as another process makes them again. */
  describe(): DmaMap[] {
    return [...this.#maps.values()].map(describeMapping);
  }

  /** The map that contains an address. */
  find(iova: bigint): Mapping | undefined {
    return this.#maps.find(iova);
  }

  /** The map that contains an address, and allows this. Throws DmaError ERR_DMA_UNMAPPED, ERR_DMA_PROTECTED. */
  allow(iova: bigint, access: DmaAccess): Mapping {
    const mapping = this.#maps.find(iova);
    if (mapping === undefined) {
      throw new DmaError('ERR_DMA_UNMAPPED', `${hex(iova)} is not mapped`, { iova, access });
    }
    if (access === 'read' ? mapping.readable : mapping.writable) return mapping;
    const message = `the device has no ${access} permission at ${hex(iova)}`;
    throw new DmaError('ERR_DMA_PROTECTED', message, { iova, access });
  }

  /** The map that has exactly this address and size. Throws DmaError ERR_DMA_UNMAP_UNKNOWN. */
  require(iova: bigint, size: bigint): Mapping {
    const mapping = this.#maps.find(iova);
    if (mapping?.start !== iova || mapping.end !== iova + size) throw noSuchMap(iova, size);
    return mapping;
  }

  /** Adds a map, as {@link AddressSpace.map} says. */
  add(map: DmaMap): void | Promise<void> {
    try {
      requireValidMap(map);
      this.#requireFree(map);
    } catch (error) {
      if (map.fd !== null) this.#system.native.close(map.fd);
      throw error;
    }
    const mapping = openMapping(this.#system, map);
    this.#maps.add(mapping);
    return this.observer?.mapped(rangeOf(mapping));
  }

  /** Removes a map, as {@link AddressSpace.unmap} says. */
  remove(iova: bigint, size: bigint): void | Promise<void> {
    const mapping = this.require(iova, size);
    const told = this.observer?.unmapping(rangeOf(mapping));
    if (told === undefined) return this.#drop(mapping);
    return told.then(() => {
      // Its client may have gone meanwhile, and all its maps with it.
      if (this.#maps.find(iova) === mapping) this.#drop(mapping);
    });
  }

  /** Removes every map at once; a promise until the observer has done its part. */
  removeAll(): void | Promise<void> {
    const told = this.observer === null ? [] : this.#tellAll(this.observer);
    this.#generation++;
    for (const mapping of this.#maps.removeAll()) closeMapping(mapping);
    if (told.length > 0) return Promise.all(told).then(() => {});
  }

  /** Tells that every map goes; what has to be waited for. */
  #tellAll(observer: MapObserver): Promise<void>[] {
    const told = [...this.#maps.values()].map((mapping) => observer.unmapping(rangeOf(mapping)));
    return told.filter((each) => each !== undefined);
  }

  #drop(mapping: Mapping): void {
    this.#maps.remove(mapping.start, mapping.end);
    this.#generation++;
    closeMapping(mapping);
  }

  #requireFree({ iova, size }: DmaMap): void {
    const other = this.#maps.overlapping(iova, iova + size);
    if (other !== undefined) {
      const message = `the map at ${hex(iova)} overlaps the one at ${hex(other.start)}`;
      throw new DmaError('ERR_DMA_MAP_EXISTS', message, { iova, size, existing: other.start });
    }
    if (this.#maps.size < this.#maxMaps) return;
    const limit = this.#maxMaps;
    throw new DmaError('ERR_DMA_MAP_LIMIT', `there are ${limit} maps already`, { limit });
  }
}
