/**
 * Keeps operations in the order of their calls where one of them consists of several requests. As long as there is
 * none of those, data goes straight through.
 */
export class OrderedWrites {
  readonly #inFlight = new Set<Promise<unknown>>();
  #queued = 0;
  #tail: Promise<unknown> = Promise.resolve();

  /** Data: follows what was called before, and may be under way with other data. `bytes` may be reused afterwards. */
  data(bytes: Uint8Array, write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    if (this.#queued === 0) return this.#follow(write(bytes));
    const copy = bytes.slice();
    return this.#enqueue(async () => ({ done: this.#follow(write(copy)) })).then(({ done }) => done);
  }

  /** Something that is done when all data before it has been taken, and before any data after it is. */
  alone(work: () => Promise<void>): Promise<void> {
    return this.#enqueue(async () => {
      await Promise.allSettled([...this.#inFlight]);
      await work();
    });
  }

  /** A failure does not keep what follows: each learns of its own. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    this.#queued += 1;
    const turn = this.#tail.then(work);
    this.#tail = turn.then(
      () => this.#done(),
      () => this.#done(),
    );
    return turn;
  }

  #done(): void {
    this.#queued -= 1;
  }

  #follow(work: Promise<void>): Promise<void> {
    const watched: Promise<unknown> = work.then(
      () => this.#inFlight.delete(watched),
      () => this.#inFlight.delete(watched),
    );
    this.#inFlight.add(watched);
    return work;
  }
}
