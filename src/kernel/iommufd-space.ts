import { Errno } from '../errors/index.ts';
import type { DmaRequest, Iommu, IommuCall, IovaRange } from './dma-space.ts';
import { KernelFile } from './kernel-file.ts';
import type { KernelSystem } from './system.ts';
import { decode, encode } from './uapi/encode.ts';
import { IommuIoctl } from './uapi/ioctls.ts';
import {
  IoasAlloc,
  IoasIovaRanges,
  IoasMap,
  IoasMapFile,
  IoasMapFlag,
  IoasUnmap,
  IovaRange as IovaRangeLayout,
} from './uapi/structs.ts';

const PATH = '/dev/iommu';
const MAX_RANGES = 256;
/** An address space of iommufd maps pages of every size from this one up. */
const PAGE_SIZES = 4096n;

/** An address space (IOAS) of iommufd. It belongs to whoever opened it, and may have several devices. */
export class IommufdSpace implements Iommu {
  readonly pageSizes = PAGE_SIZES;
  readonly file: KernelFile;
  /** What iommufd calls it. */
  readonly id: number;

  private constructor(file: KernelFile, id: number) {
    this.file = file;
    this.id = id;
  }

  /** Opens an empty address space. @throws KernelError */
  static open(system: KernelSystem): IommufdSpace {
    const file = KernelFile.open(system, PATH, {
      [Errno.ENOENT]: 'the kernel has no iommufd (CONFIG_IOMMUFD)',
    });
    try {
      const argument = encode(IoasAlloc, { size: IoasAlloc.size, flags: 0, outIoasId: 0 });
      file.ioctl(IommuIoctl.IOAS_ALLOC, { argument });
      return new IommufdSpace(file, decode(IoasAlloc, argument).outIoasId);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  ranges(): readonly IovaRange[] | null {
    const ranges = new Uint8Array(MAX_RANGES * IovaRangeLayout.size);
    const empty = { numIovas: MAX_RANGES, allowedIovas: 0n, outIovaAlignment: 0n };
    const argument = encode(IoasIovaRanges, { size: IoasIovaRanges.size, ioasId: this.id, ...empty });
    const at = IoasIovaRanges.at.allowedIovas;
    if (this.file.try(IommuIoctl.IOAS_IOVA_RANGES, { argument, pointee: ranges, at }) < 0) return null;
    const { numIovas } = decode(IoasIovaRanges, argument);
    return Array.from({ length: Math.min(numIovas, MAX_RANGES) }, (_, i) =>
      decode(IovaRangeLayout, ranges, i * IovaRangeLayout.size),
    );
  }

  /** Since Linux 6.14; kernels before it answer ENOTTY. */
  mapFile({ iova, size, fd, offset, readable, writable }: Required<DmaRequest>): IommuCall {
    const flags = protection(readable, writable);
    const place = { fd, start: offset, length: size, iova };
    const argument = encode(IoasMapFile, { size: IoasMapFile.size, flags, ioasId: this.id, ...place });
    return { request: IommuIoctl.IOAS_MAP_FILE, argument };
  }

  mapMemory({ iova, size, readable, writable }: Required<DmaRequest>): IommuCall {
    const place = { ioasId: this.id, userVa: 0n, length: size, iova };
    const argument = encode(IoasMap, { size: IoasMap.size, flags: protection(readable, writable), ...place });
    return { request: IommuIoctl.IOAS_MAP, argument, at: IoasMap.at.userVa };
  }

  unmap(iova: bigint, length: bigint): IommuCall {
    const argument = encode(IoasUnmap, { size: IoasUnmap.size, ioasId: this.id, iova, length });
    return { request: IommuIoctl.IOAS_UNMAP, argument };
  }

  unmapped({ argument }: IommuCall): bigint {
    return decode(IoasUnmap, argument).length;
  }

  close(): void {
    this.file.close();
  }
}

function protection(readable: boolean, writable: boolean): number {
  const { FIXED_IOVA, READABLE, WRITEABLE } = IoasMapFlag;
  return FIXED_IOVA | (readable ? READABLE : 0) | (writable ? WRITEABLE : 0);
}
