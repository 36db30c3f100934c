import { check, type Native } from '../../native/index.ts';
import type { FdFacts } from '../../relay/index.ts';

/** The largest memory that is made for a recorded one, in bytes. It takes no room before it is written to. */
const MAX_MEMORY = 1n << 44n;

/**
 * Descriptors in place of recorded ones: memory of the same size for memory, eventfds for everything else. What was one
 * file in the recording is one file again.
 */
export class StandInFds {
  readonly #native: Native;
  readonly #known = new Map<bigint, number>();
  readonly #all: number[] = [];

  constructor(native: Native) {
    this.#native = native;
  }

  /** Descriptors for those of one message; they stay open until {@link close}. @throws NativeError */
  standInsFor(facts: readonly FdFacts[]): readonly number[] {
    return facts.map((one) => {
      const known = one.identity === 0n ? undefined : this.#known.get(one.identity);
      return known ?? this.#make(one);
    });
  }

  close(): void {
    for (const fd of this.#all.splice(0)) this.#native.close(fd);
  }

  #make({ kind, size, identity }: FdFacts): number {
    const isMemory = kind === 'memfd' || kind === 'file';
    const bytes = Number(size > MAX_MEMORY ? MAX_MEMORY : size);
    const fd = isMemory
      ? check(this.#native.memfd('ferry replay', bytes, false), 'memfd', { size })
      : check(this.#native.eventfd(0), 'eventfd');
    this.#all.push(fd);
    if (identity !== 0n) this.#known.set(identity, fd);
    return fd;
  }
}
