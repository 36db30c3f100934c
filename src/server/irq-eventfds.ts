import { readlinkSync } from 'node:fs';
import type { Trigger } from '../device/index.ts';
import type { Native } from '../native/index.ts';
import { ServerError } from './server-error.ts';

/**
 * Checks that fds are eventfds, as the kernel does: a write to anything else could do anything.
 * @throws ServerError EINVAL
 */
export function requireEventfds(fds: readonly number[]): void {
  for (const fd of fds) {
    const what = readlinkSync(`/proc/self/fd/${fd}`);
    if (what !== 'anon_inode:[eventfd]') {
      throw new ServerError('ERR_BAD_RANGE', `SET_IRQS brought ${what}, which is no eventfd`);
    }
  }
}

/** The eventfds that the main connection gave with SET_IRQS, by IRQ index and vector. It owns them. */
export class IrqEventfds {
  readonly #native: Native;
  readonly #fds = new Map<number, Map<number, number>>();

  constructor(native: Native) {
    this.#native = native;
  }

  /** Takes the eventfd of a vector (null: none), closing the one it had; returns what signals it. */
  assign(index: number, vector: number, fd: number | null): Trigger | null {
    this.#closeOne(index, vector);
    if (fd === null) return null;
    const vectors = this.#fds.get(index) ?? new Map<number, number>();
    vectors.set(vector, fd);
    this.#fds.set(index, vectors);
    const native = this.#native;
    return () => {
      native.eventfdSignal(fd, 1);
    };
  }

  /** The eventfd of a vector; null when it has none. */
  of(index: number, vector: number): number | null {
    return this.#fds.get(index)?.get(vector) ?? null;
  }

  /** Closes all eventfds of an index. */
  release(index: number): void {
    for (const fd of this.#fds.get(index)?.values() ?? []) this.#native.close(fd);
    this.#fds.delete(index);
  }

  /** Closes everything. */
  releaseAll(): void {
    for (const index of [...this.#fds.keys()]) this.release(index);
  }

  /** How many vectors of an index have an eventfd. */
  count(index: number): number {
    return this.#fds.get(index)?.size ?? 0;
  }

  #closeOne(index: number, vector: number): void {
    const fd = this.#fds.get(index)?.get(vector);
    if (fd === undefined) return;
    this.#native.close(fd);
    this.#fds.get(index)?.delete(vector);
  }
}
