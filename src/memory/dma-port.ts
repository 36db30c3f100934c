/**
 * How a device reaches guest memory that it has no file of: the messages DMA_READ and DMA_WRITE to the client. The
 * port cuts long transfers into what the peer accepts, bounds every wait, and rejects what is outstanding when the
 * connection ends.
 */
export interface DmaPort {
  /** Whether there is anybody to ask. */
  readonly connected: boolean;
  /** Reads exactly `length` bytes at `iova`. Rejects with a FerryError; the result belongs to the caller. */
  read(iova: bigint, length: number): Promise<Uint8Array>;
  /** Writes all of `data` at `iova`. `data` must not change until the promise settles. Rejects with a FerryError. */
  write(iova: bigint, data: Uint8Array): Promise<void>;
}
