import type { Readable, Writable } from 'node:stream';
import type { SerialBackend } from '../devices/index.ts';

/** How long the line rests when the guest has taken what there was, in milliseconds. */
const REST_MS = 1;

/**
 * Somebody at the other end of a serial line who is reached by streams, at most one at a time. While nobody is there,
 * what the guest sends is lost, as on a line that is not plugged in. Who takes nothing makes the guest wait.
 *
 * A driver empties its FIFO in its interrupt handler. A line that always has more would never let it out of there, so
 * after each FIFO the line rests: it carries some kilobytes per second, like any serial line.
 */
export class StreamBackend implements SerialBackend {
  #ready = () => {};
  #input: Readable | null = null;
  #output: Writable | null = null;
  /** Something was given, and the line has not rested since. */
  #given = false;
  #rest: NodeJS.Timeout | null = null;

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
    if (input === null || this.#rests()) return 0;
    // Asked for more than it holds, a stream gives nothing; asked for nothing, it gets more.
    const count = Math.min(target.length, input.readableLength);
    const bytes: unknown = input.read(count);
    if (!(bytes instanceof Uint8Array)) return 0;
    target.set(bytes);
    this.#given = true;
    return bytes.length;
  }

  /** Whether the line rests. The rest begins when the guest comes for more, however long it took to take what it got. */
  #rests(): boolean {
    if (!this.#given) return false;
    this.#rest ??= setTimeout(() => {
      this.#given = false;
      this.#rest = null;
      this.#ready();
    }, REST_MS);
    return true;
  }

  onReady(ready: () => void): void {
    this.#ready = ready;
  }
}
