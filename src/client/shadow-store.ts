import { check, type Native } from '../native/index.ts';
import { ClientError } from './client-error.ts';
import { preventFaults } from './shared-file.ts';

const PAGE = 4096n;
/** Bytes of the widest value. */
const WIDEST = 8n;
/** Protection bits of Native.map. */
const READ_WRITE = 3;

/** Memory that the server shares for the values of doorbells. */
export class ShadowStore {
  readonly #native: Native;
  readonly #buffer: ArrayBuffer;

  /** Maps as much of `fd` as has the values at `offsets`. Throws ClientError ERR_DEVICE_LACKS, NativeError. */
  constructor(native: Native, fd: number, offsets: readonly bigint[]) {
    const end = offsets.reduce((most, offset) => (offset > most ? offset : most), 0n) + WIDEST;
    if (end > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new ClientError('ERR_DEVICE_LACKS', 'the memory of a doorbell is too far away', { end });
    }
    preventFaults(native, fd, end, 'the doorbells');
    const length = Number(((end + PAGE - 1n) / PAGE) * PAGE);
    this.#native = native;
    this.#buffer = check(native.map(fd, 0, length, READ_WRITE), 'map', { length });
  }

  /** Leaves a value of `size` (1, 2, 4, 8) bytes at a multiple of them, at once: the server may be reading it. */
  store(offset: number, size: number, value: bigint): void {
    if (size === 8) Atomics.store(new BigUint64Array(this.#buffer, offset, 1), 0, value);
    else if (size === 4) Atomics.store(new Uint32Array(this.#buffer, offset, 1), 0, Number(value));
    else if (size === 2) Atomics.store(new Uint16Array(this.#buffer, offset, 1), 0, Number(value));
    else Atomics.store(new Uint8Array(this.#buffer, offset, 1), 0, Number(value));
  }

  close(): void {
    this.#native.unmap(this.#buffer);
  }
}
