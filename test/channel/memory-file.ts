import type { Sink } from '../../src/channel/file-sink.ts';
import type { Source } from '../../src/channel/file-source.ts';

/** A sink that keeps what is written. */
export class MemorySink implements Sink {
  readonly name = 'memory';
  state: 'open' | 'finished' | 'discarded' = 'open';
  /** What to throw when it is written to. */
  failure: Error | null = null;
  readonly #pieces: Uint8Array[] = [];

  async write(bytes: Uint8Array): Promise<void> {
    if (this.failure !== null) throw this.failure;
    this.#pieces.push(new Uint8Array(bytes));
  }

  async finish(): Promise<void> {
    this.state = 'finished';
  }

  async discard(): Promise<void> {
    this.state = 'discarded';
  }

  get bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#pieces));
  }
}

/** A source of these bytes, in pieces of at most `piece`. */
export function memorySource(bytes: Uint8Array, piece = Number.POSITIVE_INFINITY): Source {
  let at = 0;
  return {
    name: 'memory',
    read: async (into) => {
      const count = Math.min(into.length, bytes.length - at, piece);
      into.set(bytes.subarray(at, at + count));
      at += count;
      return count;
    },
    rewind: () => {
      at = 0;
    },
    close: async () => {},
  };
}
