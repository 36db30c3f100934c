import type { Readable, Writable } from 'node:stream';
import type { SerialBackend } from '../../../devices/index.ts';

/**
 * Somebody at the other end of a serial line who is reached by streams, at most one at a time. While nobody is there,
 * what the guest sends is lost, as on a line that is not plugged in. Who takes nothing makes the guest wait.
 */
export class StreamBackend implements SerialBackend {
  #ready = () => {};
  #input: Readable | null = null;
  #output: Writable | null = null;

  /** Whether somebody is there. */
  get attached(): boolean {
    return this.#output !== null;
  }

  /** Connects somebody: `input` is what they send, `output` what they receive. Their errors are the caller's. */
  attach(input: Readable, output: Writable): void {
    this.#input = input;
    this.#output = output;
    input.on('readable', () => {
      // Its end is seen only by who reads on, also while the guest takes nothing.
      if (input.readableLength === 0) input.read(0);
      this.#ready();
    });
    output.on('drain', () => this.#ready());
    this.#ready();
  }

  /** They have gone. Harmless when repeated. */
  detach(): void {
    this.#input = null;
    this.#output = null;
    this.#ready();
  }

  write(bytes: Uint8Array): number {
    if (this.#output === null) return bytes.length;
    if (this.#output.writableNeedDrain) return 0;
    this.#output.write(bytes);
    return bytes.length;
  }

  read(target: Uint8Array): number {
    const input = this.#input;
    if (input === null) return 0;
    // Asked for more than it holds, a stream gives nothing; asked for nothing, it gets more.
    const count = Math.min(target.length, input.readableLength);
    const bytes: unknown = input.read(count);
    if (!(bytes instanceof Uint8Array)) return 0;
    target.set(bytes);
    return bytes.length;
  }

  onReady(ready: () => void): void {
    this.#ready = ready;
  }
}
