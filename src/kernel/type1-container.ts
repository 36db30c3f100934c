import { Errno } from '../errors/index.ts';
import { bitmapSize, CapabilityHeader } from '../protocol/index.ts';
import type { DmaRequest, Iommu, IommuCall, IovaRange } from './dma-space.ts';
import { KernelError } from './kernel-error.ts';
import { KernelFile } from './kernel-file.ts';
import type { KernelSystem } from './system.ts';
import { decode, encode } from './uapi/encode.ts';
import { IommuType, VFIO_API_VERSION, VfioIoctl } from './uapi/ioctls.ts';
import {
  DirtyPages,
  DirtyPagesFlag,
  DirtyPagesGet,
  IovaRangeCapability,
  IovaRange as IovaRangeLayout,
  Type1Capability,
  Type1Info,
  Type1InfoFlag,
  Type1Map,
  Type1Unmap,
} from './uapi/structs.ts';

const PATH = '/dev/vfio/vfio';
/** Room for some hundred ranges; a kernel that needs more says so. */
const INFO_SIZE = 4096;
const MAX_INFO_SIZE = 1 << 20;
const MAX_CAPABILITIES = 64;
const MAP_READ = 1;
const MAP_WRITE = 2;
const DEFAULT_PAGE_SIZES = 4096n;

/** A container of type 1: groups that share one view of memory. */
export class Type1Container implements Iommu {
  readonly file: KernelFile;
  readonly #type: number;
  #isSet = false;
  #pageSizes = DEFAULT_PAGE_SIZES;
  #ranges: readonly IovaRange[] | null = null;

  private constructor(file: KernelFile, type: number) {
    this.file = file;
    this.#type = type;
  }

  /** Opens an empty container. @throws KernelError */
  static open(system: KernelSystem): Type1Container {
    const file = KernelFile.open(system, PATH, { [Errno.ENOENT]: 'load the module vfio' });
    try {
      const version = file.ioctl(VfioIoctl.GET_API_VERSION);
      if (version !== VFIO_API_VERSION) throw lacks(`version ${version} of VFIO is not known here`);
      const type = [IommuType.TYPE1V2, IommuType.TYPE1].find(
        (each) => file.ioctl(VfioIoctl.CHECK_EXTENSION, { argument: each }) > 0,
      );
      if (type === undefined)
        throw lacks('the kernel has no IOMMU of type 1: load the module vfio_iommu_type1');
      return new Type1Container(file, type);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** The first group is in: only now can the kind of IOMMU be chosen, which is what the group has. */
  activate(): void {
    if (this.#isSet) return;
    this.file.ioctl(VfioIoctl.SET_IOMMU, { argument: this.#type });
    this.#isSet = true;
    this.refresh();
  }

  /** Reads again what can be mapped: another group may have reserved addresses of its own. */
  refresh(): void {
    const info = this.#info();
    const { flags, iovaPgsizes, capOffset } = decode(Type1Info, info);
    this.#pageSizes = (flags & Type1InfoFlag.PGSIZES) === 0 ? DEFAULT_PAGE_SIZES : iovaPgsizes;
    this.#ranges = (flags & Type1InfoFlag.CAPS) === 0 ? null : rangesIn(info, capOffset);
  }

  get pageSizes(): bigint {
    return this.#pageSizes;
  }

  ranges(): readonly IovaRange[] | null {
    return this.#ranges;
  }

  mapFile(): null {
    return null;
  }

  mapMemory({ iova, size, readable, writable }: Required<DmaRequest>): IommuCall {
    const flags = (readable ? MAP_READ : 0) | (writable ? MAP_WRITE : 0);
    const argument = encode(Type1Map, { argsz: Type1Map.size, flags, vaddr: 0n, iova, size });
    return { request: VfioIoctl.IOMMU_MAP_DMA, argument, at: Type1Map.at.vaddr };
  }

  unmap(iova: bigint, size: bigint): IommuCall {
    const argument = encode(Type1Unmap, { argsz: Type1Unmap.size, flags: 0, iova, size });
    return { request: VfioIoctl.IOMMU_UNMAP_DMA, argument };
  }

  /** "The actual unmapped size is returned in the size field": less means that something is still mapped. */
  unmapped({ argument }: IommuCall): bigint {
    return decode(Type1Unmap, argument).size;
  }

  /** Starts (true) or stops to track which pages are written: of all devices together. */
  async trackDirty(on: boolean): Promise<void> {
    const flags = on ? DirtyPagesFlag.START : DirtyPagesFlag.STOP;
    const argument = encode(DirtyPages, { argsz: DirtyPages.size, flags });
    await this.file.ioctlLater(VfioIoctl.IOMMU_DIRTY_PAGES, { argument });
  }

  /** The pages written since the last time. The range has to be whole maps. All ones where no driver reports writes. */
  async dirtyBitmap(iova: bigint, size: bigint, pageSize: bigint): Promise<Uint8Array> {
    const bitmap = new Uint8Array(Number(bitmapSize(size, pageSize)));
    const argument = encode(DirtyPagesGet, {
      ...{ argsz: DirtyPagesGet.size, flags: DirtyPagesFlag.GET_BITMAP, iova, size },
      ...{ pgsize: pageSize, bitmapSize: BigInt(bitmap.length), data: 0n },
    });
    const at = DirtyPagesGet.at.data;
    await this.file.ioctlLater(VfioIoctl.IOMMU_DIRTY_PAGES, { argument, pointee: bitmap, at });
    return bitmap;
  }

  close(): void {
    this.file.close();
  }

  #info(): Uint8Array {
    const ask = (size: number): Uint8Array => {
      const empty = { argsz: size, flags: 0, iovaPgsizes: 0n, capOffset: 0 };
      const argument = encode(Type1Info, empty, size - Type1Info.size);
      this.file.ioctl(VfioIoctl.IOMMU_GET_INFO, { argument });
      return argument;
    };
    const first = ask(INFO_SIZE);
    const { argsz } = decode(Type1Info, first);
    return argsz <= INFO_SIZE ? first : ask(Math.min(argsz, MAX_INFO_SIZE));
  }
}

/** The ranges of the capability IOVA_RANGE; null when there is none. */
function rangesIn(info: Uint8Array, first: number): readonly IovaRange[] | null {
  let at = first;
  for (let i = 0; i < MAX_CAPABILITIES && at !== 0; i += 1) {
    const content = at + CapabilityHeader.size;
    if (at < Type1Info.size || content + IovaRangeCapability.size > info.length) return null;
    const { id, next } = decode(CapabilityHeader, info, at);
    if (id === Type1Capability.IOVA_RANGE) return readRanges(info, content);
    at = next;
  }
  return null;
}

function readRanges(info: Uint8Array, at: number): readonly IovaRange[] {
  const { nrIovas } = decode(IovaRangeCapability, info, at);
  const first = at + IovaRangeCapability.size;
  const count = Math.min(nrIovas, Math.floor((info.length - first) / IovaRangeLayout.size));
  return Array.from({ length: count }, (_, i) =>
    decode(IovaRangeLayout, info, first + i * IovaRangeLayout.size),
  );
}

function lacks(why: string): KernelError {
  return new KernelError('ERR_KERNEL_LACKS', why, Errno.ENOTTY);
}
