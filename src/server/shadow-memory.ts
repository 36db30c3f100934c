import { check, type Native } from '../native/index.ts';

/** Bytes of one value: the widest doorbell has 8. */
const SLOT = 8;
const PAGE = 4096;
/** Protection bits of Native.map. */
const READ_WRITE = 3;

/** Memory in which a client leaves the values that it writes to doorbells, a slot of 8 bytes for each. */
export class ShadowMemory {
  /** The memfd; it can't be shrunk, so that no client makes the server touch what is not there. */
  readonly fd: number;
  readonly #native: Native;
  readonly #buffer: ArrayBuffer;

  /** `fd`: memory that another process has made for as many slots; ours once this exists. Throws NativeError when there is none. */
  constructor(native: Native, slots: number, fd?: number) {
    this.#native = native;
    const size = Math.ceil((slots * SLOT) / PAGE) * PAGE;
    this.fd = fd ?? check(native.memfd('ferry-doorbells', size, true), 'memfd', { size });
    try {
      this.#buffer = check(native.map(this.fd, 0, size, READ_WRITE), 'map', { size });
    } catch (error) {
      if (fd === undefined) native.close(this.fd);
      throw error;
    }
  }

  /** Where a slot is in the memory, in bytes. */
  offsetOf(slot: number): number {
    return slot * SLOT;
  }

  /** The value of `size` (1, 2, 4, 8) bytes in a slot; read at once, as its client may be writing it. */
  read(slot: number, size: number): bigint {
    const at = this.offsetOf(slot);
    if (size === 8) return Atomics.load(new BigUint64Array(this.#buffer, at, 1), 0);
    if (size === 4) return BigInt(Atomics.load(new Uint32Array(this.#buffer, at, 1), 0));
    if (size === 2) return BigInt(Atomics.load(new Uint16Array(this.#buffer, at, 1), 0));
    return BigInt(Atomics.load(new Uint8Array(this.#buffer, at, 1), 0));
  }

  /** Gives the memory back; the client's mapping stays. */
  close(): void {
    this.#native.unmap(this.#buffer);
    this.#native.close(this.fd);
  }
}
