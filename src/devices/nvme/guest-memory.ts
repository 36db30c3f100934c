import type { DeviceDma } from '../../device/index.ts';
import type { Later } from './later.ts';

/** Guest memory, at once where it is mapped. Throws or rejects with DmaError where it can't be reached. */
export class GuestMemory {
  readonly #dma: () => DeviceDma;
  readonly #asynchronous: boolean;

  /** `asynchronous`: whether memory that takes messages may be used. */
  constructor(dma: () => DeviceDma, asynchronous: boolean) {
    this.#dma = dma;
    this.#asynchronous = asynchronous;
  }

  /** The memory itself, or null where it is not mapped in one piece. Becomes empty when it is unmapped. */
  view(address: bigint, length: number): Uint8Array | null {
    return this.#dma().view(address, length);
  }

  /** After each write through a {@link view}. */
  markDirty(address: bigint, length: number): void {
    this.#dma().markDirty(address, length);
  }

  /** Fills `target`. */
  read(address: bigint, target: Uint8Array): Later<void> {
    if (!this.#asynchronous) return this.#dma().readSync(address, target);
    return this.#dma()
      .read(address, target.length)
      .then((data) => target.set(data));
  }

  /** Stores `data`, which must not change meanwhile. */
  write(address: bigint, data: Uint8Array): Later<void> {
    if (!this.#asynchronous) return this.#dma().writeSync(address, data);
    return this.#dma().write(address, data);
  }
}
