import { StepError } from './step-error.ts';

/** A caller's wish to stop, by any of its signals. It is heard once: what undoes the rest is not cancelled. */
export class Cancellation {
  readonly #signals: readonly AbortSignal[];
  #heard = false;

  constructor(signals: readonly (AbortSignal | undefined)[]) {
    this.#signals = signals.filter((each) => each !== undefined);
  }

  /** Throws StepError once the caller has cancelled. */
  check(): void {
    if (this.#heard || !this.#signals.some(({ aborted }) => aborted)) return;
    this.#heard = true;
    throw cancelled();
  }

  /** Calls `fail` when the caller cancels; what it returns ends that. */
  on(fail: (error: StepError) => void): () => void {
    const cancel = (): void => {
      if (this.#heard) return;
      this.#heard = true;
      fail(cancelled());
    };
    for (const each of this.#signals) each.addEventListener('abort', cancel);
    return () => {
      for (const each of this.#signals) each.removeEventListener('abort', cancel);
    };
  }
}

function cancelled(): StepError {
  return new StepError('ERR_STEP_CANCELLED', 'caller', 'it was cancelled');
}
