import type { Native } from '../../../src/native/index.ts';

/** The calls that a memory block makes, and nothing else: memfds are numbers, mappings plain buffers. */
export class FakeMemory {
  /** What each memfd was created with. */
  readonly created: (readonly [name: string, size: number, sealShrink: boolean])[] = [];
  readonly open = new Set<number>();
  readonly mapped = new Set<ArrayBuffer>();
  /** Returned by memfd or map instead of success. */
  failMemfd = 0;
  failMap = 0;
  readonly #threads: boolean;

  /** With `threads` the mappings can be handed to worker threads, as memory of another process would be. */
  constructor({ threads = false } = {}) {
    this.#threads = threads;
  }

  get native(): Native {
    const calls: Pick<Native, 'memfd' | 'map' | 'unmap' | 'close'> = {
      memfd: (name, size, sealShrink) => {
        if (this.failMemfd !== 0) return this.failMemfd;
        this.created.push([name, size, sealShrink]);
        const fd = 100 + this.created.length;
        this.open.add(fd);
        return fd;
      },
      map: (_fd, _offset, length) => {
        if (this.failMap !== 0) return this.failMap;
        // A block only reads and writes through views, to which the two kinds of buffer look the same.
        const buffer = this.#threads
          ? (new SharedArrayBuffer(length) as unknown as ArrayBuffer)
          : new ArrayBuffer(length);
        this.mapped.add(buffer);
        return buffer;
      },
      unmap: (buffer) => (this.mapped.delete(buffer) ? 0 : -22),
      close: (fd) => (this.open.delete(fd) ? 0 : -9),
    };
    const refuse = (_: object, name: string | symbol) => {
      throw new Error(`a memory block does not need ${String(name)}`);
    };
    // Any other call ends the test: the fake is only as wide as its purpose.
    return new Proxy(calls, {
      get: (target, name) => Reflect.get(target, name) ?? refuse(target, name),
    }) as Native;
  }
}
