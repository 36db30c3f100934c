import { KiB, type MemoryBlock } from '../../device/index.ts';
import type { NamespaceBackend } from './namespace.ts';

/** Looked at and cleared at a time. */
const STRIDE = 64 * KiB;
const ZEROS = Buffer.alloc(STRIDE);

/** A namespace in a memory block of the device's state: its contents travel with the device. */
export class RamNamespace implements NamespaceBackend {
  readonly blocks: number;
  readonly blockSize: 512 | 4096;
  readonly synchronous = true;
  readonly volatileCache = false;
  readonly #block: MemoryBlock;

  constructor(block: MemoryBlock, blockSize: 512 | 4096) {
    this.#block = block;
    this.blockSize = blockSize;
    this.blocks = block.size / blockSize;
  }

  read(offset: number, target: Uint8Array): void {
    this.#block.read(offset, target);
  }

  write(offset: number, data: Uint8Array): void {
    this.#block.write(offset, data);
  }

  /** What is zero already stays as it is: untouched memory costs nothing, and clean pages need not travel again. */
  zero(offset: number, length: number): void {
    const bytes = Buffer.from(this.#block.bytes.buffer, this.#block.bytes.byteOffset, this.#block.size);
    for (let at = offset; at < offset + length; at += STRIDE) {
      const end = Math.min(at + STRIDE, offset + length);
      if (bytes.compare(ZEROS, 0, end - at, at, end) !== 0) this.#block.fill(0, at, end - at);
    }
  }

  discard(offset: number, length: number): void {
    this.zero(offset, length);
  }

  flush(): void {}

  quiesce(): void {}

  resume(): void {}
}
