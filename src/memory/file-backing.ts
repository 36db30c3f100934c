import { errnoName } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { type Backing, type FileRegion, requireInsideFile, type StatFile } from './backing.ts';
import { DmaError } from './dma-error.ts';

type Transfer = (fd: number, bytes: Uint8Array, offset: number, length: number, position: number) => number;

/** Guest memory reached by pread and pwrite: for files that can't be mapped, or that the client may shrink. */
export class FileBacking implements Backing {
  readonly #native: Native;
  readonly #region: FileRegion;

  private constructor(native: Native, region: FileRegion) {
    this.#native = native;
    this.#region = region;
  }

  /** Uses the region's fd, which stays the caller's. Throws DmaError ERR_DMA_MAP_FD. */
  static open(native: Native, region: FileRegion, stat: StatFile): FileBacking {
    requireInsideFile(region, stat);
    return new FileBacking(native, region);
  }

  view(): null {
    return null;
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): void {
    this.#transfer(this.#native.pread, offset, target, targetOffset, length);
  }

  write(offset: number, data: Uint8Array, dataOffset: number, length: number): void {
    this.#transfer(this.#native.pwrite, offset, data, dataOffset, length);
  }

  close(): void {}

  #transfer(
    transfer: Transfer,
    offset: number,
    bytes: Uint8Array,
    bytesOffset: number,
    length: number,
  ): void {
    const { fd, offset: base } = this.#region;
    for (let done = 0; done < length; ) {
      const count = transfer.call(
        this.#native,
        fd,
        bytes,
        bytesOffset + done,
        length - done,
        base + offset + done,
      );
      if (count <= 0) throw transferError(base + offset + done, count);
      done += count;
    }
  }
}

function transferError(position: number, result: number): DmaError {
  if (result === 0) {
    return new DmaError('ERR_DMA_IO', `the file of guest memory ends at byte ${position}`, { position });
  }
  const errno = -result;
  return new DmaError('ERR_DMA_IO', `file access failed: ${errnoName(errno)}`, { position }, errno);
}
