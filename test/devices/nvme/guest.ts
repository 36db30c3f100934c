import { loadNative } from '../../../src/native/index.ts';
import { type FakeDmaPort, FakeHost } from '../../helpers/fake-host.ts';

/** How a device reaches guest memory: mapped into its process, or by messages. */
export type Reach = 'mapped' | 'message';

/** Guest memory that outlives the devices that use it, and hands out pages. */
export class Guest {
  readonly base = 0x1_0000_0000n;
  readonly bytes: Uint8Array;
  readonly reach: Reach;
  readonly #fd: number;
  readonly #buffer: ArrayBuffer;
  readonly #native = loadNative();
  #next = 0;
  #port: FakeDmaPort | null = null;

  constructor(reach: Reach, size = 16 * 1024 * 1024) {
    this.reach = reach;
    this.#fd = this.#native.memfd('guest', size, true);
    const buffer = this.#native.map(this.#fd, 0, size, 3);
    if (typeof buffer === 'number') throw new Error(`mmap failed with ${buffer}`);
    this.#buffer = buffer;
    this.bytes = new Uint8Array(buffer);
  }

  /** A host that reaches this memory. */
  host(mode: FakeHost['mode'] = 'event-loop'): FakeHost {
    const host = new FakeHost(mode);
    if (this.reach === 'message') {
      this.#port = host.messageMemory(this.base, this.bytes);
      return host;
    }
    this.mapInto(host);
    return host;
  }

  /** The end of the last host that is reached by messages. */
  get port(): FakeDmaPort {
    if (this.#port === null) throw new Error('this memory is mapped');
    return this.#port;
  }

  /** Maps all of it. */
  mapInto(host: Pick<FakeHost, 'memory'>): void {
    const flags = { read: true, write: true, mode: 'mmap' } as const;
    const size = BigInt(this.bytes.length);
    host.memory.map({ iova: this.base, size, offset: 0n, flags, fd: this.#native.dup(this.#fd) });
  }

  /** The address of `length` fresh bytes, aligned to a page. */
  allocate(length: number): bigint {
    const at = this.#next;
    this.#next += Math.ceil(length / 4096) * 4096;
    if (this.#next > this.bytes.length) throw new RangeError('the guest has no more memory');
    return this.base + BigInt(at);
  }

  /** The bytes at an address. */
  at(address: bigint, length: number): Uint8Array {
    const offset = Number(address - this.base);
    return this.bytes.subarray(offset, offset + length);
  }

  view(address: bigint, length: number): DataView {
    const bytes = this.at(address, length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  close(): void {
    this.#native.unmap(this.#buffer);
    this.#native.close(this.#fd);
  }
}
