import { type AddressSpace, DmaError } from '../memory/index.ts';
import { ServerError } from './server-error.ts';

/** The interrupts of the device, as far as they matter here. */
export interface SwitchoverInterrupts {
  readonly mode: string;
  readonly intxOutstanding: boolean;
  hold(): void;
}

/** A byte of a region whose reads do not reach the device. */
export interface Shield {
  readonly region: number;
  readonly offset: number;
}

/** As many DMA_WRITE messages are on the way at once. */
const LANES = 32;
/** Bytes of a page. */
const PAGE = 4096n;

/**
 * What a device does for a VMM that moves the guest's memory by itself and knows nothing of the device, as QEMU does: its
 * interrupts stay pending while the VMM saves the interrupt controller, and what it wrote by mapped memory is brought to
 * the VMM's notice.
 */
export class Switchover<Party extends object> {
  readonly #memory: AddressSpace;
  readonly #interrupts: SwitchoverInterrupts;
  #by: Party | null = null;
  #shield: Shield | null = null;

  constructor(memory: AddressSpace, interrupts: SwitchoverInterrupts) {
    this.#memory = memory;
    this.#interrupts = interrupts;
  }

  /** Interrupts stay pending although the device may run. */
  get withheld(): boolean {
    return this.#by !== null;
  }

  /** The byte that is shielded, or null. */
  get shield(): Shield | null {
    return this.#shield;
  }

  /** The device interrupts by INTx. */
  get intx(): boolean {
    return this.#interrupts.mode === 'intx';
  }

  /** INTx has been signalled, and the VMM has not said that it is served. */
  get outstanding(): boolean {
    return this.intx && this.#interrupts.intxOutstanding;
  }

  /** Keeps interrupts pending until {@link end}; `shield` is the byte that may be read meanwhile without effect. */
  withhold(by: Party, shield: Shield | null): void {
    this.#by = by;
    this.#shield = shield;
    this.#interrupts.hold();
  }

  /** Interrupts are delivered again. True: they were withheld. */
  end(): boolean {
    const was = this.withheld;
    this.#by = null;
    this.#shield = null;
    return was;
  }

  /** `by` is gone. True: that ends what it asked for. */
  leave(by: Party): boolean {
    return this.#by === by && this.end();
  }

  /**
   * Writes the first byte of each page of the DMA log to where it is, by message: a VMM that logs only its own writes
   * logs that. Only while neither the guest nor the device runs: otherwise a write of theirs could be undone. Returns how
   * many pages that were. @throws ServerError when DMA is not logged; rejects with what the VMM refuses.
   */
  async touch(): Promise<number> {
    if (this.#memory.dirtyLog.pageSize === null)
      throw new ServerError('ERR_WRONG_STATE', 'DMA is not logged');
    const pages = this.#writtenPages();
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let page = pages[next++]; page !== undefined; page = pages[next++]) await this.#rewrite(page);
    };
    await Promise.all(Array.from({ length: Math.min(LANES, pages.length) }, lane));
    return pages.length;
  }

  /** Pages that have gone, or that only messages reach, are the VMM's business alone. */
  #writtenPages(): readonly bigint[] {
    const pages: bigint[] = [];
    this.#memory.dirtyLog.forEachRun((iova, length) => {
      for (let at = iova; at < iova + length; at += PAGE) if (this.#isMapped(at)) pages.push(at);
    });
    return pages;
  }

  #isMapped(page: bigint): boolean {
    try {
      return (
        this.#memory.reach(page, 1, 'write') === 'direct' && this.#memory.reach(page, 1, 'read') === 'direct'
      );
    } catch (error) {
      if (error instanceof DmaError) return false;
      throw error;
    }
  }

  async #rewrite(page: bigint): Promise<void> {
    const byte = new Uint8Array(1);
    this.#memory.readSync(page, byte);
    const { port } = this.#memory;
    if (port === null) throw new ServerError('ERR_DMA_FAILED', 'no VMM is connected');
    await port.write(page, byte);
  }
}
