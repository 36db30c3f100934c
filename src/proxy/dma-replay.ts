import { Command, dmaUnmap } from '../protocol/index.ts';
import type { Backend } from './backend.ts';
import type { DmaEntry, DmaTable } from './dma-table.ts';

/** Size of a DMA_UNMAP without a bitmap, as it says itself. */
const UNMAP_ARGSZ = 24;

/** Tells a back end what a client has mapped for DMA, and later what has changed since. */
export class DmaReplay {
  readonly #table: DmaTable;
  readonly #backend: Backend;
  #told: readonly DmaEntry[] = [];

  constructor(table: DmaTable, backend: Backend) {
    this.#table = table;
    this.#backend = backend;
  }

  /** The back end gets to know what is mapped now. @throws ProxyError */
  async catchUp(): Promise<void> {
    const { entries } = this.#table;
    const [before, now] = [new Set(this.#told), new Set(entries)];
    const gone = this.#told.filter((entry) => !now.has(entry));
    const added = entries.filter((entry) => !before.has(entry));
    this.#told = entries;
    // A server handles what it is asked in order, so nobody waits for one answer before the next request.
    await Promise.all([
      ...gone.map((entry) => this.#unmap(entry)),
      ...added.map(({ payload, fd }) =>
        this.#backend.require(Command.DMA_MAP, payload, fd === null ? [] : [fd]),
      ),
    ]);
  }

  #unmap({ address, size }: DmaEntry): Promise<Uint8Array> {
    const request = dmaUnmap.request.encode({ argsz: UNMAP_ARGSZ, flags: 0, address, size, bitmap: null });
    return this.#backend.require(Command.DMA_UNMAP, request);
  }
}
