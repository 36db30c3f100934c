import { Errno } from '../errors/index.ts';
import type { DmaMemory } from '../native/index.ts';
import { KernelError } from './kernel-error.ts';

/** Memory that a device is to reach: a part of a file, and the address under which the device has it. */
export interface DmaRequest {
  /** Address for the device, a multiple of the page size. */
  readonly iova: bigint;
  /** Bytes, a multiple of the page size. */
  readonly size: bigint;
  /** The file, such as a memfd; only used during the call. */
  readonly fd: number;
  /** Where in the file it begins, in bytes; 0 by default. */
  readonly offset?: bigint;
  /** The device may read it. */
  readonly readable?: boolean;
  /** The device may write it. */
  readonly writable?: boolean;
}

/** An inclusive range of IOVAs. */
export interface IovaRange {
  readonly start: bigint;
  readonly last: bigint;
}

/** What translates IOVAs: a container of type 1, or an address space of iommufd. */
export interface Iommu {
  readonly name: string;
  /** Page sizes that can be mapped, or-ed together. */
  readonly pageSizes: bigint;
  /** What can be mapped at all; null when the kernel does not tell. */
  ranges(): readonly IovaRange[] | null;
  /** Maps, by the file itself if it can; 0, or an errno negated. Null: it has to be given memory. */
  mapFile(request: Required<DmaRequest>): Promise<number> | null;
  /** Maps memory of this process; 0, or an errno negated. */
  mapMemory(request: Required<DmaRequest>, memory: DmaMemory): Promise<number>;
  /** Unmaps what was mapped by one call; 0, or an errno negated. */
  unmap(iova: bigint, size: bigint): Promise<number>;
}

/** What {@link DmaSpace} needs of the system. */
export interface DmaCalls {
  mapForDma(fd: number, offset: bigint, length: number, access: number): DmaMemory | number;
  unmapForDma(memory: DmaMemory): number;
}

/** Memory that is mapped for a device. */
export interface DmaMapping {
  readonly iova: bigint;
  readonly size: bigint;
}

interface Owned extends DmaMapping {
  readonly memory: DmaMemory | null;
  /** The kernel did not say that it is unmapped: it stays reserved. */
  stuck: boolean;
}

const SPACE = 1n << 64n;

/**
 * What devices behind one IOMMU can reach. Each map has memory of its own at an address that belongs to the map alone:
 * it is given up when the kernel has said that nothing reaches it any more, and never before, whatever becomes of other
 * mappings of the same file. A device that could still reach an address would write into whatever is put there next.
 */
export class DmaSpace {
  readonly iommu: Iommu;
  readonly #calls: DmaCalls;
  /** Ascending by IOVA. */
  readonly #mappings = new Map<bigint, Owned>();

  constructor(calls: DmaCalls, iommu: Iommu) {
    this.#calls = calls;
    this.iommu = iommu;
  }

  /** Everything that devices can reach, ascending by IOVA. */
  get mappings(): readonly DmaMapping[] {
    return [...this.#mappings.values()].sort((a, b) => (a.iova < b.iova ? -1 : 1));
  }

  /**
   * Lets devices reach a part of a file. Pinning much memory takes long: it is done on another thread.
   * @throws KernelError: EEXIST for what overlaps, EINVAL for what is not aligned, ENOMEM beyond what may be locked
   */
  async map(wanted: DmaRequest): Promise<DmaMapping> {
    const request = { offset: 0n, readable: true, writable: true, ...wanted };
    this.#require(request);
    const { iova, size } = request;
    const placeholder: Owned = { iova, size, memory: null, stuck: false };
    // Reserved at once: two calls at a time must not both find the place free.
    this.#mappings.set(iova, placeholder);
    try {
      const byFile = this.iommu.mapFile(request);
      const result = byFile === null ? -Errno.EOPNOTSUPP : await byFile;
      if (result === 0) return placeholder;
      if (result !== -Errno.EOPNOTSUPP) throw this.#refused(request, -result);
      const owned = await this.#mapMemory(request);
      this.#mappings.set(iova, owned);
      return owned;
    } catch (error) {
      this.#mappings.delete(iova);
      throw error;
    }
  }

  /** Takes back what {@link map} gave. @throws KernelError ERR_KERNEL_DMA: the memory stays reserved for the device */
  async unmap({ iova, size }: DmaMapping): Promise<void> {
    const owned = this.#mappings.get(iova);
    if (owned === undefined || owned.size !== size) {
      const context = { iova, size };
      throw new KernelError(
        'ERR_KERNEL_ARGUMENT',
        'nothing is mapped there in that size',
        Errno.EINVAL,
        context,
      );
    }
    const result = await this.iommu.unmap(iova, size);
    if (result < 0) {
      owned.stuck = true;
      const context = { iova, size };
      const message = `${hex(iova)} could not be taken away from the device, and stays reserved for it`;
      throw new KernelError('ERR_KERNEL_DMA', message, -result, context);
    }
    this.#mappings.delete(iova);
    if (owned.memory !== null) this.#calls.unmapForDma(owned.memory);
  }

  /** Takes everything back that can be; what can't stays reserved for as long as the process lives. */
  async unmapAll(): Promise<void> {
    for (const mapping of this.mappings) await this.unmap(mapping).catch(() => {});
  }

  async #mapMemory(request: Required<DmaRequest>): Promise<Owned> {
    const { fd, offset, size, iova } = request;
    const access = (request.readable ? READ : 0) | (request.writable ? WRITE : 0);
    const memory = this.#calls.mapForDma(fd, offset, Number(size), access);
    if (typeof memory === 'number') throw this.#refused(request, -memory);
    const result = await this.iommu.mapMemory(request, memory);
    if (result >= 0) return { iova, size, memory, stuck: false };
    this.#calls.unmapForDma(memory);
    throw this.#refused(request, -result);
  }

  #require({ iova, size, offset, readable, writable }: Required<DmaRequest>): void {
    const fail = (why: string, errno: number): never => {
      throw new KernelError('ERR_KERNEL_ARGUMENT', `${hex(iova)}: ${why}`, errno, { iova, size });
    };
    if (!readable && !writable) fail('the device could neither read nor write it', Errno.EINVAL);
    if (iova < 0n || size <= 0n || offset < 0n || iova + size > SPACE)
      fail('no range of addresses', Errno.EINVAL);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) fail('too large', Errno.EFBIG);
    const page = smallest(this.iommu.pageSizes);
    if (iova % page !== 0n || size % page !== 0n || offset % page !== 0n) {
      fail(`not a multiple of the page size, ${page} bytes`, Errno.EINVAL);
    }
    for (const each of this.#mappings.values()) {
      if (iova < each.iova + each.size && each.iova < iova + size)
        fail('overlaps what is mapped', Errno.EEXIST);
    }
    const ranges = this.iommu.ranges();
    if (ranges === null || ranges.some(({ start, last }) => iova >= start && iova + size - 1n <= last))
      return;
    fail('the IOMMU has no such addresses: they are reserved, or too high', Errno.EINVAL);
  }

  #refused({ iova, size }: DmaRequest, errno: number): KernelError {
    const locked = errno === Errno.ENOMEM ? ': raise the limit of locked memory (ulimit -l)' : '';
    const message = `the IOMMU did not map ${size} bytes at ${hex(iova)}${locked}`;
    return new KernelError('ERR_KERNEL', message, errno, { iova, size });
  }
}

/** Access bits of mapForDma. */
const READ = 1;
const WRITE = 2;

function smallest(pageSizes: bigint): bigint {
  return pageSizes === 0n ? 4096n : pageSizes & -pageSizes;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
