/** Where senders wait for room: all share one promise, made when the first has to wait. */
export class Gate {
  #promise: Promise<void> | null = null;
  #resolve: () => void = () => {};

  /** Whether somebody waits. */
  get awaited(): boolean {
    return this.#promise !== null;
  }

  /** Resolves at the next {@link open}. */
  wait(): Promise<void> {
    this.#promise ??= new Promise((resolve) => {
      this.#resolve = resolve;
    });
    return this.#promise;
  }

  /** Lets everybody go on who waits now. */
  open(): void {
    if (this.#promise === null) return;
    this.#promise = null;
    this.#resolve();
  }
}
