import type { DmaRange } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import type { DmaMapping, KernelDevice } from '../kernel/index.ts';
import type { AddressSpace } from '../memory/index.ts';

/** What a client maps for its device is mapped through the IOMMU. */
export class BridgedMemory {
  readonly #device: KernelDevice;
  readonly #memory: AddressSpace;
  readonly #report: (error: FerryError) => void;
  readonly #mapped = new Map<bigint, DmaMapping>();
  /** Why a range is not mapped for the device, or could not be taken back. Clients ignore that a map failed. */
  readonly #failures = new Map<bigint, string>();

  constructor(device: KernelDevice, memory: AddressSpace, report: (error: FerryError) => void) {
    this.#device = device;
    this.#memory = memory;
    this.#report = report;
    memory.observe({ mapped: (range) => this.#map(range), unmapping: (range) => this.#unmap(range) });
  }

  /** What the device does not reach although its client has mapped it, or still reaches. */
  get health(): readonly string[] {
    return [...this.#failures.values()];
  }

  #map({ iova, size, readable, writable, direct }: DmaRange): void {
    const source = this.#memory.describeMaps().find((map) => map.iova === iova);
    if (!direct || source === undefined || source.fd === null) {
      return this.#failed(iova, size, 'it has no file: start the VMM with shared memory (memfd, share=on)');
    }
    try {
      const { fd, offset } = source;
      const mapping = this.#device.space.mapNow({ iova, size, fd, offset, readable, writable });
      this.#mapped.set(iova, mapping);
      this.#failures.delete(iova);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      this.#report(error);
      this.#failed(iova, size, error.message);
    }
  }

  #unmap({ iova, size }: DmaRange): void {
    const mapping = this.#mapped.get(iova);
    this.#failures.delete(iova);
    if (mapping === undefined) return;
    this.#mapped.delete(iova);
    try {
      this.#device.space.unmapNow(mapping);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      this.#report(error);
      this.#failures.set(iova, `${rangeText(iova, size)}: ${error.message}`);
    }
  }

  #failed(iova: bigint, size: bigint, why: string): void {
    this.#failures.set(iova, `the device does not reach ${rangeText(iova, size)}: ${why}`);
  }
}

function rangeText(iova: bigint, size: bigint): string {
  return `0x${iova.toString(16)}-0x${(iova + size - 1n).toString(16)}`;
}
