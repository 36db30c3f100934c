import type { Command } from './command.ts';
import type { Features } from './features.ts';
import type { Interrupts } from './interrupts.ts';
import { chain, type Later } from './later.ts';
import { COMPLETION_ENTRY_SHIFT, MAX_ENTRIES, SUBMISSION_ENTRY_SHIFT, VECTORS } from './limits.ts';
import type { Queues } from './queues.ts';
import { ControllerConfiguration } from './registers.ts';
import type { NvmeState } from './state.ts';
import { Status } from './status.ts';

/** Bits of dword 11: the queue lies in one piece; interrupts are enabled. */
const CONTIGUOUS = 1;
const INTERRUPTS = 2;

/** What the commands work on. */
export interface QueueCommandParts {
  readonly state: NvmeState;
  readonly queues: Queues;
  readonly features: Features;
  readonly interrupts: Interrupts;
  readonly pageSize: () => number;
}

/** Creates and deletes I/O queues (NVM Express 1.4, sections 5.3 to 5.6). Each method returns a status. */
export class QueueCommands {
  readonly #parts: QueueCommandParts;

  constructor(parts: QueueCommandParts) {
    this.#parts = parts;
  }

  createCompletion(command: Command): number {
    const { state, queues, features } = this.#parts;
    const id = command.dword10 & 0xffff;
    const size = (command.dword10 >>> 16) + 1;
    const queue = queues.completion[id];
    if (queue === undefined || id === 0 || id > features.queueLimit.completion || queue.size > 0)
      return Status.INVALID_QUEUE_IDENTIFIER;
    if (ControllerConfiguration.completionEntry(state.cc) !== COMPLETION_ENTRY_SHIFT)
      return Status.INVALID_QUEUE_SIZE;
    const vector = command.dword11 >>> 16;
    if (vector >= VECTORS) return Status.INVALID_INTERRUPT_VECTOR;
    const status = this.#checkPlace(command, size);
    if (status !== Status.SUCCESS) return status;
    queue.create(command.prp1, size, vector, (command.dword11 & INTERRUPTS) !== 0);
    return Status.SUCCESS;
  }

  createSubmission(command: Command): number {
    const { state, queues, features } = this.#parts;
    const id = command.dword10 & 0xffff;
    const size = (command.dword10 >>> 16) + 1;
    const queue = queues.submission[id];
    if (queue === undefined || id === 0 || id > features.queueLimit.submission || queue.size > 0)
      return Status.INVALID_QUEUE_IDENTIFIER;
    const target = command.dword11 >>> 16;
    if (target === 0 || !queues.completion[target]?.size) return Status.COMPLETION_QUEUE_INVALID;
    if (ControllerConfiguration.submissionEntry(state.cc) !== SUBMISSION_ENTRY_SHIFT)
      return Status.INVALID_QUEUE_SIZE;
    const status = this.#checkPlace(command, size);
    if (status !== Status.SUCCESS) return status;
    queue.create(command.prp1, size, target);
    queues.changed();
    return Status.SUCCESS;
  }

  /** Waits for the commands in progress; those that were not fetched are aborted by that. */
  deleteSubmission(command: Command): Later<number> {
    const { queues } = this.#parts;
    const id = command.dword10 & 0xffff;
    const queue = queues.submission[id];
    if (id === 0 || !queue?.size || queue.closing) return Status.INVALID_QUEUE_IDENTIFIER;
    return chain(queue.close(), () => {
      queue.remove();
      queues.changed();
      return Status.SUCCESS;
    });
  }

  deleteCompletion(command: Command): number {
    const { queues, interrupts } = this.#parts;
    const id = command.dword10 & 0xffff;
    const queue = queues.completion[id];
    if (id === 0 || !queue?.size) return Status.INVALID_QUEUE_IDENTIFIER;
    if (queues.submission.some(({ size, target }) => size > 0 && target === id))
      return Status.INVALID_QUEUE_DELETION;
    queue.remove();
    interrupts.taken();
    return Status.SUCCESS;
  }

  #checkPlace({ dword11, prp1 }: Command, size: number): number {
    if (size < 2 || size > MAX_ENTRIES) return Status.INVALID_QUEUE_SIZE;
    if ((dword11 & CONTIGUOUS) === 0) return Status.INVALID_FIELD;
    if ((prp1 & BigInt(this.#parts.pageSize() - 1)) !== 0n) return Status.INVALID_PRP_OFFSET;
    return Status.SUCCESS;
  }
}
