import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/**
 * Everything that can go wrong with guest memory, and the errno it has on the wire. Where the vfio-user text is
 * silent the errno is that of the kernel's type 1 IOMMU (vfio_dma_do_map, vfio_dma_do_unmap).
 */
export const dmaErrors = {
  /** Map: size 0, past 2^64, an offset that no file has, mmap or file access without an fd. */
  ERR_DMA_MAP_INVALID: Errno.EINVAL,
  /** Map: it overlaps, or equals, a map that exists. */
  ERR_DMA_MAP_EXISTS: Errno.EEXIST,
  /** Map: as many as were negotiated exist, or the process has mapped as much as it dares. */
  ERR_DMA_MAP_LIMIT: Errno.ENOSPC,
  /** Map: the fd can't be mapped, or the region lies beyond the end of its file. Other refusals keep their errno. */
  ERR_DMA_MAP_FD: Errno.EINVAL,
  /** Unmap: no map has exactly this address and size. */
  ERR_DMA_UNMAP_UNKNOWN: Errno.ENOENT,
  /** Access: some byte is not mapped. */
  ERR_DMA_UNMAPPED: Errno.EFAULT,
  /** Access: some byte may not be read, or not be written, by the device. */
  ERR_DMA_PROTECTED: Errno.EACCES,
  /** Access: some byte can be reached only by message, which takes the asynchronous methods. */
  ERR_DMA_NEEDS_MESSAGE: Errno.EOPNOTSUPP,
  /** Access: it takes messages, and nobody is connected who would answer them. */
  ERR_DMA_NOT_CONNECTED: Errno.ENOTCONN,
  /** Access: the file ended early, or the peer's answer has the wrong length. Other failures keep their errno. */
  ERR_DMA_IO: Errno.EIO,
} as const;

/** Stable code of a {@link DmaError}. */
export type DmaErrorCode = keyof typeof dmaErrors;

/** An operation on guest memory that failed. See {@link dmaErrors} for the codes. */
export class DmaError extends FerryError {
  constructor(code: DmaErrorCode, message: string, context: ErrorContext = {}, errno?: number) {
    super(code, message, { errno: errno ?? dmaErrors[code], context });
  }
}
