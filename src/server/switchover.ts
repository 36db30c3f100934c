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
const PAGE = 4096;
/**
 * Pages that one message touches at most: it has all bytes between the first and the last, and is still one message
 * (MessageDmaPort cuts at 32 KiB).
 */
const SPAN = 8;

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
   * Writes the first byte at least of each page of the DMA log to where it is, by message: a VMM that logs only its own writes
   * logs that. Pages that lie side by side take one message. Only while neither the guest nor the device runs: otherwise a
   * write of theirs could be undone. Returns how many pages that were. @throws ServerError when DMA is not logged; rejects
   * with what the VMM refuses.
   */
  async touch(): Promise<number> {
    if (this.#memory.dirtyLog.pageSize === null)
      throw new ServerError('ERR_WRONG_STATE', 'DMA is not logged');
    const spans = this.#writtenSpans();
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let span = spans[next++]; span !== undefined; span = spans[next++]) await this.#rewrite(span);
    };
    await Promise.all(Array.from({ length: Math.min(LANES, spans.length) }, lane));
    return spans.reduce((sum, { pages }) => sum + pages, 0);
  }

  /** Pages that have gone, or that only messages reach, are the VMM's business alone. */
  #writtenSpans(): readonly PageSpan[] {
    const spans: { readonly address: bigint; pages: number }[] = [];
    this.#memory.dirtyLog.forEachRun((iova, length) => {
      for (let at = iova; at < iova + length; at += BigInt(PAGE)) {
        if (!this.#isMapped(at, 1)) continue;
        const last = spans.at(-1);
        const follows = last !== undefined && last.address + BigInt(last.pages * PAGE) === at;
        if (follows && last.pages < SPAN && this.#isMapped(at - BigInt(PAGE), PAGE)) last.pages += 1;
        else spans.push({ address: at, pages: 1 });
      }
    });
    return spans;
  }

  #isMapped(iova: bigint, length: number): boolean {
    try {
      return (
        this.#memory.reach(iova, length, 'write') === 'direct' &&
        this.#memory.reach(iova, length, 'read') === 'direct'
      );
    } catch (error) {
      if (error instanceof DmaError) return false;
      throw error;
    }
  }

  async #rewrite({ address, pages }: PageSpan): Promise<void> {
    const bytes = new Uint8Array((pages - 1) * PAGE + 1);
    this.#memory.readSync(address, bytes);
    const { port } = this.#memory;
    if (port === null) throw new ServerError('ERR_DMA_FAILED', 'no VMM is connected');
    await port.write(address, bytes);
  }
}

/** Pages that lie side by side. */
interface PageSpan {
  readonly address: bigint;
  readonly pages: number;
}
