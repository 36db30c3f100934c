/**
 * Errors of the storage, for whoever runs the server: the guest learns no more than a status. What was said last is not
 * said again, because a disk that is full fails every write.
 */
export class Complaints {
  #waiting: unknown = null;
  #said = '';

  /** Notes an error. Of several at a time the first one counts. */
  note(error: unknown): void {
    this.#waiting ??= error;
  }

  /** The error to be reported now; null when there is none, or nothing new. */
  take(): unknown {
    const error = this.#waiting;
    this.#waiting = null;
    if (error === null || String(error) === this.#said) return null;
    this.#said = String(error);
    return error;
  }
}
