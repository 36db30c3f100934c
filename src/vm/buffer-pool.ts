/** Bytes of a buffer: what a socket gives at once is seldom more. */
const SIZE = 256 * 1024;
/** Buffers that are kept for the next use; more are left to the collector. */
const KEPT = 64;

/**
 * Buffers that are used again. A VM's memory passes through here, and buffers that are made anew for it would have the
 * collector at work all the time, also while the VM stands still.
 */
export class BufferPool {
  /** Bytes of each buffer. */
  readonly size = SIZE;
  readonly #free: Uint8Array[] = [];

  /** A buffer with anything in it. */
  take(): Uint8Array {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SIZE);
  }

  /** Nobody uses it any more. */
  give(buffer: Uint8Array): void {
    if (this.#free.length < KEPT) this.#free.push(buffer);
  }
}
