/** Does one thing after the other, in the order of the calls. A failure does not keep what follows. */
export class CallQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Begins `work` when everything before it has ended. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}
