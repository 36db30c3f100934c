import { check, type Native } from '../../native/index.ts';
import { ServerError } from '../server-error.ts';

/** Where the data section begins in the region: the registers have a page for themselves, so that it can be mapped. */
export const V1_DATA_OFFSET = 4096;

/** Size of the data section unless told otherwise, in bytes: as much as one message of vfio-user carries. */
export const DEFAULT_V1_DATA_SIZE = 1024 * 1024;

const PAGE = 4096;
/** A piece lies in memory as a whole, here and at whoever carries it. */
const MAX_DATA_SIZE = 256 * 1024 * 1024;
const READ_WRITE = 3;

/** The memory behind the migration region: a memfd, sealed against shrinking, in which the region begins at byte 0. */
export class V1DataSection {
  readonly fd: number;
  /** The data section itself. */
  readonly bytes: Uint8Array;
  readonly #native: Native;
  readonly #buffer: ArrayBuffer;
  #open = true;

  /** @throws ServerError EINVAL for a size that is no number of pages up to 256 MiB; NativeError */
  constructor(native: Native, size: number) {
    if (!Number.isSafeInteger(size) || size <= 0 || size > MAX_DATA_SIZE || size % PAGE !== 0) {
      const message = `a data section of ${size} bytes can't be made: it has whole pages of ${PAGE}, up to 256 MiB`;
      throw new ServerError('ERR_BAD_RANGE', message, { size });
    }
    this.#native = native;
    this.fd = check(native.memfd('ferry-v1-migration', V1_DATA_OFFSET + size, true), 'memfd', { size });
    const mapped = native.map(this.fd, V1_DATA_OFFSET, size, READ_WRITE);
    if (typeof mapped === 'number') native.close(this.fd);
    this.#buffer = check(mapped, 'map', { size });
    this.bytes = new Uint8Array(this.#buffer);
  }

  /** Bytes of the whole region. */
  get regionSize(): number {
    return V1_DATA_OFFSET + this.bytes.length;
  }

  /** Gives the memory back; clients keep what they have mapped. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#native.unmap(this.#buffer);
    this.#native.close(this.fd);
  }
}
