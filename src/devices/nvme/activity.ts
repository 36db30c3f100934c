/**
 * What is in progress beyond the current call, and a way to wait for the next thing to happen.
 */
export class Activity {
  #count = 0;
  #happened = false;
  #wake: (() => void) | null = null;

  /** How many operations are in progress. */
  get count(): number {
    return this.#count;
  }

  /** Follows an operation until it has settled; it takes care of its own failure. */
  follow(operation: Promise<unknown>): void {
    this.#count++;
    const ended = () => {
      this.#count--;
      this.wake();
    };
    operation.then(ended, ended);
  }

  /** Something happened that {@link changed} waits for. */
  wake(): void {
    this.#happened = true;
    this.#wake?.();
    this.#wake = null;
  }

  /** Settles when something has happened since the last call. */
  async changed(): Promise<void> {
    if (!this.#happened) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#happened = false;
  }
}
