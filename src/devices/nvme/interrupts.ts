import type { CompletionQueue } from './completion-queue.ts';
import type { Queues } from './queues.ts';
import type { NvmeState } from './state.ts';

/** Vectors that INTMS and INTMC can mask. */
const MASKABLE = 32;

/** What delivers interrupts. */
export interface InterruptPins {
  /** Raises a vector, or asserts INTx. */
  raise(vector: number): void;
  /** Deasserts INTx. */
  lower(): void;
}

/**
 * Tells the guest of completions (NVM Express 1.4, section 7.5). A message goes out once for all entries that were
 * posted together; INTx stays asserted as long as a queue has entries that the guest has not taken.
 */
export class Interrupts {
  readonly #state: NvmeState;
  readonly #queues: Queues;
  readonly #pins: InterruptPins;

  constructor(state: NvmeState, queues: Queues, pins: InterruptPins) {
    this.#state = state;
    this.#queues = queues;
    this.#pins = pins;
  }

  /** Entries were posted: signals every queue that has got some since the last call. */
  signal(): void {
    for (const queue of this.#queues.completion) {
      if (!queue.signalling) continue;
      queue.signalling = false;
      // A guest that looks into its queue before it is told may have taken everything already.
      if (!queue.empty && this.#wanted(queue)) this.#pins.raise(queue.vector);
    }
  }

  /** Signals every queue that has entries: the last interrupt may not have reached the guest. */
  signalAll(): void {
    for (const queue of this.#queues.completion) queue.signalling = !queue.empty;
    this.signal();
  }

  /** The guest has taken entries, or queues have gone: INTx may have to be deasserted. */
  taken(): void {
    if (!this.#queues.completion.some((queue) => !queue.empty && this.#wanted(queue))) this.#pins.lower();
  }

  /** INTMS. */
  mask(bits: number): void {
    this.#state.interruptMask |= bits;
    this.taken();
  }

  /** INTMC. */
  unmask(bits: number): void {
    this.#state.interruptMask &= ~bits;
    this.signalAll();
  }

  #wanted({ interrupts, vector }: CompletionQueue): boolean {
    return interrupts && !(vector < MASKABLE && (this.#state.interruptMask >>> vector) & 1);
  }
}
