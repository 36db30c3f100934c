import { check, type Native } from '../native/index.ts';
import type { Closeable, Reactor } from '../transport/index.ts';

/** Told of an interrupt: which vector, and how often it fired since the last time. */
export type InterruptListener = (vector: number, times: number) => void;

interface Entry {
  readonly fds: number[];
  readonly watches: Closeable[];
}

/** The eventfds that a client made for its interrupts, by index and vector, and who watches them. */
export class IrqEventfds {
  readonly #native: Native;
  readonly #entries = new Map<number, Entry>();

  constructor(native: Native) {
    this.#native = native;
  }

  /** Makes `count` eventfds for an index, giving up those it had. */
  create(index: number, count: number): readonly number[] {
    this.release(index);
    const entry: Entry = { fds: [], watches: [] };
    this.#entries.set(index, entry);
    for (let vector = 0; vector < count; vector += 1) {
      entry.fds.push(check(this.#native.eventfd(0), 'eventfd', { index, vector }));
    }
    return entry.fds;
  }

  /** Calls `listener` whenever a vector of the index fires. */
  watch(index: number, reactor: Reactor, listener: InterruptListener): void {
    const entry = this.#entries.get(index);
    entry?.fds.forEach((fd, vector) => {
      const fired = (): void => {
        const times = this.#native.eventfdRead(fd);
        if (times > 0) listener(vector, times);
      };
      entry.watches.push(reactor.watch(fd, fired));
    });
  }

  /** The eventfd of a vector; undefined when it has none. */
  of(index: number, vector: number): number | undefined {
    return this.#entries.get(index)?.fds[vector];
  }

  /** Closes the eventfds of an index. */
  release(index: number): void {
    const entry = this.#entries.get(index);
    this.#entries.delete(index);
    for (const watch of entry?.watches ?? []) watch.close();
    for (const fd of entry?.fds ?? []) this.#native.close(fd);
  }

  /** Closes everything. */
  releaseAll(): void {
    for (const index of [...this.#entries.keys()]) this.release(index);
  }
}
