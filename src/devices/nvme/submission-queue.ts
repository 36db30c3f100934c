import type { Command } from './command.ts';
import type { GuestMemory } from './guest-memory.ts';
import { chain, type Later } from './later.ts';
import { SUBMISSION_ENTRY, SUBMISSION_ENTRY_SHIFT } from './limits.ts';
import { QueueMemory } from './queue-memory.ts';
import type { NvmeState } from './state.ts';

/** Fetched at a time where the queue is not mapped. */
const BATCH = 16;

/** A submission queue, with its registers in the declared state (NVM Express 1.4, section 4.1). */
export class SubmissionQueue {
  readonly id: number;
  /** Whether entries are on their way. */
  fetching = false;
  /** Whether it is being deleted: nothing of it is started any more. */
  closing = false;
  readonly #state: NvmeState;
  readonly #guest: GuestMemory;
  readonly #memory: QueueMemory;
  /** Commands in progress, and the fetch of more. */
  #inProgress = 0;
  #idle: (() => void) | null = null;

  constructor(id: number, state: NvmeState, guest: GuestMemory) {
    this.id = id;
    this.#state = state;
    this.#guest = guest;
    this.#memory = new QueueMemory(guest);
  }

  /** Entries; 0 when there is no such queue. */
  get size(): number {
    return this.#state.submissionSize[this.id] ?? 0;
  }

  /** The number of the completion queue. */
  get target(): number {
    return this.#state.submissionTarget[this.id] ?? 0;
  }

  /** The entry that is fetched next. */
  get head(): number {
    return this.#state.submissionHead[this.id] ?? 0;
  }

  get empty(): boolean {
    return this.#state.submissionHead[this.id] === this.#state.submissionTail[this.id];
  }

  create(address: bigint, size: number, target: number): void {
    this.remove();
    this.#state.submissionAddress[this.id] = address;
    this.#state.submissionSize[this.id] = size;
    this.#state.submissionTarget[this.id] = target;
  }

  remove(): void {
    this.#state.submissionSize[this.id] = 0;
    this.#state.submissionHead[this.id] = 0;
    this.#state.submissionTail[this.id] = 0;
    this.forget();
  }

  /** Forgets what was derived from another state; nothing is in progress. */
  forget(): void {
    this.#memory.forget();
    this.fetching = false;
    this.closing = false;
    this.#idle = null;
  }

  /** The doorbell: entries before `tail` are filled in. False for a value that no tail can have. */
  ring(tail: number): boolean {
    if (tail >= this.size) return false;
    this.#state.submissionTail[this.id] = tail;
    return true;
  }

  /** Whether {@link take} can be used: the queue is mapped. */
  get mapped(): boolean {
    return this.#memory.bytes(this.#address, this.size << SUBMISSION_ENTRY_SHIFT) !== null;
  }

  /** Moves the entry at the head into `command`. */
  take(command: Command): void {
    command.load(this.#memory.view, this.head << SUBMISSION_ENTRY_SHIFT, this.id);
    this.#advance();
  }

  /** Entries from the head on, as many as are there in a row. They stay in the queue. */
  fetch(): Later<DataView> {
    const tail = this.#state.submissionTail[this.id] ?? 0;
    const end = tail < this.head ? this.size : tail;
    const entries = new Uint8Array(Math.min(end - this.head, BATCH) * SUBMISSION_ENTRY);
    const address = this.#address + BigInt(this.head << SUBMISSION_ENTRY_SHIFT);
    return chain(this.#guest.read(address, entries), () => new DataView(entries.buffer));
  }

  /** Moves entry `index` of what was fetched into `command`; it has to be the one at the head. */
  takeFetched(command: Command, entries: DataView, index: number): void {
    command.load(entries, index << SUBMISSION_ENTRY_SHIFT, this.id);
    this.#advance();
  }

  /** Something of it is in progress from now on, until {@link ended}. */
  started(): void {
    this.#inProgress++;
  }

  ended(): void {
    this.#inProgress--;
    if (this.#inProgress === 0) this.#idle?.();
  }

  /** Closes the queue; settles when nothing of it is in progress. */
  close(): Later<void> {
    this.closing = true;
    if (this.#inProgress === 0) return;
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  get #address(): bigint {
    return this.#state.submissionAddress[this.id] ?? 0n;
  }

  #advance(): void {
    const next = this.head + 1;
    this.#state.submissionHead[this.id] = next === this.size ? 0 : next;
  }
}
