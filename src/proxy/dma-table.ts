import type { Native } from '../native/index.ts';
import { DmaUnmapFlag, dmaMap, dmaUnmap } from '../protocol/index.ts';

/** A range of guest memory that the client has offered. */
export interface DmaEntry {
  readonly address: bigint;
  readonly size: bigint;
  /** The payload of its DMA_MAP. */
  readonly payload: Uint8Array;
  /** The memory; null where it is reached by message. The table's. */
  readonly fd: number | null;
}

/** What the client has mapped for DMA, in its order, with the fds that came with it. */
export class DmaTable {
  readonly #native: Native;
  #entries: readonly DmaEntry[] = [];

  constructor(native: Native) {
    this.#native = native;
  }

  /** What is mapped now. */
  get entries(): readonly DmaEntry[] {
    return this.#entries;
  }

  /** A DMA_MAP has been carried out. `fds` become the table's. */
  map(payload: Uint8Array, fds: readonly number[]): void {
    const { address, size } = dmaMap.request.decode(payload, fds.length);
    const [fd = null, ...rest] = fds;
    for (const each of rest) this.#native.close(each);
    this.#drop((entry) => entry.address === address && entry.size === size);
    this.#entries = [...this.#entries, { address, size, payload, fd }];
  }

  /** A DMA_UNMAP has been carried out. */
  unmap(payload: Uint8Array): void {
    const { flags, address, size } = dmaUnmap.request.decode(payload);
    const all = (flags & DmaUnmapFlag.ALL) !== 0;
    this.#drop((each) => all || (each.address >= address && each.address + each.size <= address + size));
  }

  /** Forgets everything. */
  clear(): void {
    this.#drop(() => true);
  }

  #drop(gone: (entry: DmaEntry) => boolean): void {
    const kept: DmaEntry[] = [];
    for (const entry of this.#entries) {
      if (!gone(entry)) kept.push(entry);
      else if (entry.fd !== null) this.#native.close(entry.fd);
    }
    this.#entries = kept;
  }
}
