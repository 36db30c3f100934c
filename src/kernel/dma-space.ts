import { Errno } from '../errors/index.ts';
import type { DmaMemory } from '../native/index.ts';
import { CallQueue } from './call-queue.ts';
import { KernelError } from './kernel-error.ts';
import type { KernelFile } from './kernel-file.ts';

/** Memory that a device is to reach: a part of a file, and the address under which the device has it. */
export interface DmaRequest {
  /** Address for the device, a multiple of the page size. */
  readonly iova: bigint;
  /** Bytes, a multiple of the page size. */
  readonly size: bigint;
  /** The file, such as a memfd. It may be closed when the call has returned, whenever what it does ends. */
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

/** A call to the IOMMU, to be made on another thread. */
export interface IommuCall {
  readonly request: number;
  readonly argument: Uint8Array;
  /** Where the address of the memory goes; absent where the call names a file. */
  readonly at?: number;
}

/** What translates IOVAs: a container of type 1, or an address space of iommufd. */
export interface Iommu {
  readonly file: KernelFile;
  /** Page sizes that can be mapped, or-ed together. */
  readonly pageSizes: bigint;
  /** What can be mapped at all; null when the kernel does not tell. */
  ranges(): readonly IovaRange[] | null;
  /** Maps a file as it is; null where only memory can be mapped. */
  mapFile(request: Required<DmaRequest>): IommuCall | null;
  /** Maps memory of this process. */
  mapMemory(request: Required<DmaRequest>): IommuCall;
  /** Unmaps what was mapped by one call. */
  unmap(iova: bigint, size: bigint): IommuCall;
  /** How many bytes a call of {@link unmap} has unmapped. */
  unmapped(call: IommuCall): bigint;
}

/** What {@link DmaSpace} needs of the system. */
export interface DmaCalls {
  mapForDma(fd: number, offset: bigint, length: number, access: number): DmaMemory | number;
  unmapForDma(memory: DmaMemory): number;
  dup(fd: number): number;
  close(fd: number): number;
  identify(fd: number): string | null;
}

/** Memory that is mapped for a device. */
export interface DmaMapping {
  readonly iova: bigint;
  readonly size: bigint;
}

interface Owned extends DmaMapping {
  /** Null where the kernel maps the file itself. */
  readonly memory: DmaMemory | null;
  /** What it is of, and how it may be used; null when that can't be told. */
  readonly content: string | null;
  /** Who has mapped it: the same memory for several devices is mapped and pinned once. */
  readonly by: Set<DmaSpace>;
}

/** What all users of one address space have in common. */
interface Shared {
  /** By IOVA. */
  readonly mappings: Map<bigint, Owned>;
  readonly queue: CallQueue;
  /** The kernel maps files as they are, as far as it is known. */
  mapsFiles: boolean;
}

const SPACE = 1n << 64n;

/**
 * What devices behind one IOMMU can reach. Each map has memory of its own at an address that belongs to the map alone:
 * it is given up when the kernel has said that nothing reaches it any more, and never before, whatever becomes of other
 * mappings of the same file. A device that could still reach an address would write into whatever is put there next.
 *
 * Pinning much memory takes long: the kernel is called on another thread, for one thing after the other, in the order in
 * which they were asked for.
 */
export class DmaSpace {
  readonly iommu: Iommu;
  readonly #calls: DmaCalls;
  readonly #shared: Shared;

  constructor(calls: DmaCalls, iommu: Iommu, shared: Shared | null = null) {
    this.#calls = calls;
    this.iommu = iommu;
    this.#shared = shared ?? { mappings: new Map(), queue: new CallQueue(), mapsFiles: true };
  }

  /** The same addresses for another device behind the same IOMMU, which takes back its own maps. */
  beside(): DmaSpace {
    return new DmaSpace(this.#calls, this.iommu, this.#shared);
  }

  /** Everything that devices can reach, whoever has mapped it, ascending by IOVA. */
  get mappings(): readonly DmaMapping[] {
    return this.#ascending();
  }

  /**
   * Lets devices reach a part of a file.
   * @throws KernelError: EEXIST for what overlaps, EINVAL for what is not aligned, ENOMEM beyond what may be locked
   */
  async map(wanted: DmaRequest): Promise<DmaMapping> {
    const fd = this.#calls.dup(wanted.fd);
    try {
      return await this.#shared.queue.run(() => this.#map({ ...wanted, fd }));
    } finally {
      if (fd >= 0) this.#calls.close(fd);
    }
  }

  /** Takes back what {@link map} gave. @throws KernelError ERR_KERNEL_DMA: the memory stays reserved for the device */
  unmap(mapping: DmaMapping): Promise<void> {
    return this.#shared.queue.run(() => this.#unmap(this.#ownedAt(mapping)));
  }

  /** Takes everything back that was mapped here; what can't be stays reserved for as long as the process lives. */
  unmapAll(): Promise<void> {
    return this.#shared.queue.run(async () => {
      for (const owned of this.#ascending()) if (owned.by.has(this)) await this.#unmap(owned).catch(() => {});
    });
  }

  #ascending(): Owned[] {
    return [...this.#shared.mappings.values()].sort((a, b) => (a.iova < b.iova ? -1 : 1));
  }

  async #map(wanted: DmaRequest): Promise<DmaMapping> {
    const request = { offset: 0n, readable: true, writable: true, ...wanted };
    this.#require(request);
    if (request.fd < 0) throw notMapped(request, -request.fd);
    const { iova, size } = request;
    const content = this.#contentOf(request);
    const same = this.#shared.mappings.get(iova);
    if (same?.size === size && same.content === content && content !== null && !same.by.has(this)) {
      same.by.add(this);
    } else {
      this.#requireFree(request);
      const memory = await this.#mapNew(request);
      this.#shared.mappings.set(iova, { iova, size, memory, content, by: new Set([this]) });
    }
    return { iova, size };
  }

  /** The memory that was mapped; null when the file was, as it is. */
  async #mapNew(request: Required<DmaRequest>): Promise<DmaMemory | null> {
    const byFile = this.#shared.mapsFiles ? this.iommu.mapFile(request) : null;
    if (byFile !== null && this.#isMapped(request, await this.#call(byFile))) return null;
    const memory = this.#memoryFor(request);
    const result = await this.#call(this.iommu.mapMemory(request), memory);
    if (result >= 0) return memory;
    this.#calls.unmapForDma(memory);
    throw notMapped(request, -result);
  }

  async #unmap(owned: Owned): Promise<void> {
    if (owned.by.size > 1) {
      owned.by.delete(this);
      return;
    }
    const call = this.iommu.unmap(owned.iova, owned.size);
    this.#giveUp(owned, call, await this.#call(call));
  }

  #contentOf({ fd, offset, readable, writable }: Required<DmaRequest>): string | null {
    const file = this.#calls.identify(fd);
    return file === null ? null : `${file} ${offset} ${readable} ${writable}`;
  }

  /** Whether a file was mapped as it is. A kernel that can't is not asked again. */
  #isMapped(request: Required<DmaRequest>, result: number): boolean {
    if (result === 0) return true;
    if (result !== -Errno.ENOTTY) throw notMapped(request, -result);
    this.#shared.mapsFiles = false;
    return false;
  }

  #memoryFor(request: Required<DmaRequest>): DmaMemory {
    const { fd, offset, size } = request;
    const access = (request.readable ? READ : 0) | (request.writable ? WRITE : 0);
    const memory = this.#calls.mapForDma(fd, offset, Number(size), access);
    if (typeof memory === 'number') throw notMapped(request, -memory);
    return memory;
  }

  #ownedAt({ iova, size }: DmaMapping): Owned {
    const owned = this.#shared.mappings.get(iova);
    if (owned?.size === size && owned.by.has(this)) return owned;
    const context = { iova, size };
    throw new KernelError(
      'ERR_KERNEL_ARGUMENT',
      'nothing is mapped there in that size',
      Errno.EINVAL,
      context,
    );
  }

  /** Only when the kernel has unmapped all of it is the address given up. */
  #giveUp({ iova, size, memory }: Owned, call: IommuCall, result: number): void {
    const errno = result < 0 ? -result : this.iommu.unmapped(call) === size ? 0 : Errno.EIO;
    if (errno !== 0) {
      const message = `${hex(iova)} could not be taken away from the device, and stays reserved for it`;
      throw new KernelError('ERR_KERNEL_DMA', message, errno, { iova, size });
    }
    this.#shared.mappings.delete(iova);
    if (memory !== null) this.#calls.unmapForDma(memory);
  }

  async #call({ request, argument, at }: IommuCall, memory?: DmaMemory): Promise<number> {
    // What was asked for before the device was closed may get its turn after it.
    if (this.iommu.file.closed) return -Errno.EBADF;
    return this.iommu.file.tryLater(request, { argument, ...pointerTo(memory, at) });
  }

  #require({ iova, size, offset, readable, writable }: Required<DmaRequest>): void {
    const fail = (why: string, errno: number = Errno.EINVAL): never => {
      throw refused({ iova, size }, why, errno);
    };
    if (!readable && !writable) fail('the device could neither read nor write it');
    if (iova < 0n || size <= 0n || offset < 0n || iova + size > SPACE) fail('no range of addresses');
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) fail('too large', Errno.EFBIG);
    const page = smallest(this.iommu.pageSizes);
    if (iova % page !== 0n || size % page !== 0n || offset % page !== 0n) {
      fail(`not a multiple of the page size, ${page} bytes`);
    }
    const ranges = this.iommu.ranges();
    if (ranges === null || ranges.some(({ start, last }) => iova >= start && iova + size - 1n <= last))
      return;
    fail('the IOMMU has no such addresses: they are reserved, or too high');
  }

  #requireFree({ iova, size }: DmaMapping): void {
    for (const each of this.#shared.mappings.values()) {
      if (iova < each.iova + each.size && each.iova < iova + size)
        throw refused({ iova, size }, 'overlaps what is mapped', Errno.EEXIST);
    }
  }
}

function refused({ iova, size }: DmaMapping, why: string, errno: number): KernelError {
  return new KernelError('ERR_KERNEL_ARGUMENT', `${hex(iova)}: ${why}`, errno, { iova, size });
}

function notMapped({ iova, size }: DmaMapping, errno: number): KernelError {
  const locked = errno === Errno.ENOMEM ? ': raise the limit of locked memory (ulimit -l)' : '';
  const message = `the IOMMU did not map ${size} bytes at ${hex(iova)}${locked}`;
  return new KernelError('ERR_KERNEL', message, errno, { iova, size });
}

function pointerTo(memory: DmaMemory | undefined, at: number | undefined) {
  return memory === undefined || at === undefined ? {} : { pointee: memory, at };
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
