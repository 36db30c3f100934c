import type { DmaRange } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import type { KernelDevice } from '../kernel/index.ts';
import type { AddressSpace } from '../memory/index.ts';

/** A range that a client has mapped, as the device sees it. */
interface Reach {
  readonly range: DmaRange;
  /** Settles when the IOMMU has answered: whether it has mapped the range. */
  readonly mapped: Promise<boolean>;
  /** Why the device does not reach it, or why it still does. */
  failure: string | null;
}

/**
 * What a client maps for its device is mapped through the IOMMU, on another thread: pinning much memory takes long, and
 * whoever looks at the device meanwhile by the control socket is answered.
 */
export class BridgedMemory {
  readonly #device: KernelDevice;
  readonly #memory: AddressSpace;
  readonly #report: (error: FerryError) => void;
  /** Those that are the client's, by IOVA. */
  readonly #given = new Map<bigint, Reach>();
  /** Those, and what could not be taken back. */
  readonly #reaches = new Set<Reach>();

  constructor(device: KernelDevice, memory: AddressSpace, report: (error: FerryError) => void) {
    this.#device = device;
    this.#memory = memory;
    this.#report = report;
    memory.observe({ mapped: (range) => this.#map(range), unmapping: (range) => this.#unmap(range) });
  }

  /** What the device does not reach although its client has mapped it, or still reaches. Clients ignore that a map failed. */
  get health(): readonly string[] {
    return [...this.#reaches].flatMap(({ failure }) => failure ?? []);
  }

  #map(range: DmaRange): void | Promise<void> {
    const { iova, size, readable, writable, direct } = range;
    const source = this.#memory.describeMaps().find((map) => map.iova === iova);
    if (!direct || source === undefined || source.fd === null) {
      const reach = this.#add(range, Promise.resolve(false));
      reach.failure = unreached(range, 'it has no file: start the VMM with shared memory (memfd, share=on)');
      return;
    }
    const { fd, offset } = source;
    const mapping = this.#device.space.map({ iova, size, fd, offset, readable, writable });
    const reach = this.#add(
      range,
      mapping.then(
        () => true,
        (error: unknown) => {
          reach.failure = unreached(range, this.#told(error));
          return false;
        },
      ),
    );
    return reach.mapped.then(() => {});
  }

  #unmap({ iova, size }: DmaRange): void | Promise<void> {
    const reach = this.#given.get(iova);
    if (reach === undefined) return;
    this.#given.delete(iova);
    if (!reach.range.direct) {
      this.#reaches.delete(reach);
      return;
    }
    // Asked for at once, so that it comes before whatever the next client maps there.
    const unmapped = this.#device.space.unmap({ iova, size });
    return this.#takeBack(
      reach,
      unmapped.then(
        () => null,
        (error: unknown) => error,
      ),
    );
  }

  async #takeBack(reach: Reach, unmapped: Promise<unknown>): Promise<void> {
    const [wasMapped, error] = await Promise.all([reach.mapped, unmapped]);
    if (wasMapped && error !== null) reach.failure = `${rangeText(reach.range)}: ${this.#told(error)}`;
    else this.#reaches.delete(reach);
  }

  #add(range: DmaRange, mapped: Promise<boolean>): Reach {
    const reach: Reach = { range, mapped, failure: null };
    this.#given.set(range.iova, reach);
    this.#reaches.add(reach);
    return reach;
  }

  /** What an error says; whoever runs the server is told as well. */
  #told(error: unknown): string {
    if (!(error instanceof FerryError)) throw error;
    this.#report(error);
    return error.message;
  }
}

function unreached(range: DmaRange, why: string): string {
  return `the device does not reach ${rangeText(range)}: ${why}`;
}

function rangeText({ iova, size }: DmaRange): string {
  return `0x${iova.toString(16)}-0x${(iova + size - 1n).toString(16)}`;
}
