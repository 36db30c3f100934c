import { CompletionQueue } from './completion-queue.ts';
import type { GuestMemory } from './guest-memory.ts';
import { QUEUES } from './limits.ts';
import type { NvmeState } from './state.ts';
import { SubmissionQueue } from './submission-queue.ts';

/** All queues by number; those of size 0 do not exist. */
export class Queues {
  readonly submission: readonly SubmissionQueue[];
  readonly completion: readonly CompletionQueue[];
  #highest = 0;

  constructor(state: NvmeState, guest: GuestMemory) {
    const numbers = Array.from({ length: QUEUES }, (_, id) => id);
    this.submission = numbers.map((id) => new SubmissionQueue(id, state, guest));
    this.completion = numbers.map((id) => new CompletionQueue(id, state, guest));
  }

  /** The highest number of a submission queue that exists. */
  get highest(): number {
    return this.#highest;
  }

  /** Whether there are any besides the admin queues. */
  get anyForIo(): boolean {
    return this.completion.some(({ id, size }) => id > 0 && size > 0);
  }

  /** Queues were created, deleted or loaded. */
  changed(): void {
    this.#highest = this.submission.findLast(({ size }) => size > 0)?.id ?? 0;
  }

  /** Deletes all. */
  removeAll(): void {
    for (const queue of this.submission) queue.remove();
    for (const queue of this.completion) queue.remove();
    this.changed();
  }

  /** Another state was loaded. */
  restored(): void {
    for (const queue of this.submission) queue.forget();
    for (const queue of this.completion) queue.forget();
    this.changed();
  }
}
