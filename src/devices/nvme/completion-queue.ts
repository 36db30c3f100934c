import type { Command } from './command.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { Later } from './later.ts';
import { COMPLETION_ENTRY, COMPLETION_ENTRY_SHIFT } from './limits.ts';
import { QueueMemory } from './queue-memory.ts';
import type { NvmeState } from './state.ts';

/** The byte of an entry that has the phase tag in its lowest bit: it makes the entry valid. */
const PHASE_BYTE = 14;

/** A completion queue, with its registers in the declared state (NVM Express 1.4, sections 4.1 and 4.6). */
export class CompletionQueue {
  readonly id: number;
  /** Entries that commands in progress will need. */
  reserved = 0;
  /** Whether commands wait for room. */
  awaited = false;
  /** Whether entries were posted since the last interrupt. */
  signalling = false;
  /** Entries that messages carry to the guest's memory, in the order of the queue. */
  #landing = 0;
  readonly #state: NvmeState;
  readonly #guest: GuestMemory;
  readonly #memory: QueueMemory;

  constructor(id: number, state: NvmeState, guest: GuestMemory) {
    this.id = id;
    this.#state = state;
    this.#guest = guest;
    this.#memory = new QueueMemory(guest);
  }

  /** Entries; 0 when there is no such queue. */
  get size(): number {
    return this.#state.completionSize[this.id] ?? 0;
  }

  /** Interrupt vector. */
  get vector(): number {
    return this.#state.completionVector[this.id] ?? 0;
  }

  /** Whether the guest wants interrupts. */
  get interrupts(): boolean {
    return this.#state.completionInterrupts[this.id] === 1;
  }

  /**
   * Whether the guest has taken all entries that have reached its memory. One that is still on its way does not count:
   * a guest that is interrupted for what it can't see is interrupted again at once, and a VMM with one lock for both
   * may then never get to write it (QEMU).
   */
  get empty(): boolean {
    return this.#used <= this.#landing;
  }

  /** Whether one more command may be started: an entry stays free, so that a full queue is not an empty one. */
  get hasRoom(): boolean {
    return this.#used + this.reserved + 1 < this.size;
  }

  create(address: bigint, size: number, vector: number, interrupts: boolean): void {
    this.remove();
    this.#state.completionAddress[this.id] = address;
    this.#state.completionSize[this.id] = size;
    this.#state.completionVector[this.id] = vector;
    this.#state.completionInterrupts[this.id] = interrupts ? 1 : 0;
  }

  remove(): void {
    this.#state.completionSize[this.id] = 0;
    this.#state.completionHead[this.id] = 0;
    this.#state.completionTail[this.id] = 0;
    this.#state.completionPhase[this.id] = 1;
    this.#state.completionInterrupts[this.id] = 0;
    this.forget();
  }

  /** Forgets what was derived from another state. */
  forget(): void {
    this.#memory.forget();
    this.awaited = false;
    this.signalling = false;
  }

  /** The doorbell: entries before `head` were taken. False for a value beyond what was posted. */
  ring(head: number): boolean {
    if (head >= this.size) return false;
    const taken = (head - (this.#state.completionHead[this.id] ?? 0) + this.size) % this.size;
    if (taken > this.#used) return false;
    this.#state.completionHead[this.id] = head;
    return true;
  }

  /** Posts the completion of `command`; there has to be room. `submissionHead` is the head of its queue. */
  post(command: Command, status: number, submissionHead: number): Later<void> {
    const tail = this.#state.completionTail[this.id] ?? 0;
    const statusAndPhase = (status << 1) | (this.#state.completionPhase[this.id] ?? 0);
    this.#advance(tail);
    const at = tail << COMPLETION_ENTRY_SHIFT;
    const base = this.#state.completionAddress[this.id] ?? 0n;
    const bytes = this.#memory.bytes(base, this.size << COMPLETION_ENTRY_SHIFT);
    if (bytes === null) {
      const entry = new Uint8Array(COMPLETION_ENTRY);
      fill(entry, new DataView(entry.buffer), 0, command, submissionHead, statusAndPhase);
      return this.#landed(this.#guest.write(base + BigInt(at), entry));
    }
    fill(bytes, this.#memory.view, at, command, submissionHead, statusAndPhase);
    this.#guest.markDirty(base + BigInt(at), COMPLETION_ENTRY);
  }

  #landed(written: Later<void>): Later<void> {
    if (!(written instanceof Promise)) return;
    this.#landing++;
    return written.finally(() => {
      this.#landing--;
    });
  }

  get #used(): number {
    const { completionHead, completionTail } = this.#state;
    return ((completionTail[this.id] ?? 0) - (completionHead[this.id] ?? 0) + this.size) % this.size;
  }

  #advance(tail: number): void {
    const next = tail + 1;
    this.#state.completionTail[this.id] = next === this.size ? 0 : next;
    if (next === this.size)
      this.#state.completionPhase[this.id] = 1 - (this.#state.completionPhase[this.id] ?? 0);
  }
}

/** A guest looks at the phase tag while it polls, so its byte is written last, and not before the others. */
function fill(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  command: Command,
  submissionHead: number,
  statusAndPhase: number,
): void {
  view.setUint32(at, command.result, true);
  view.setUint32(at + 4, 0, true);
  view.setUint32(at + 8, (command.queue << 16) | submissionHead, true);
  view.setUint16(at + 12, command.id, true);
  bytes[at + PHASE_BYTE + 1] = statusAndPhase >>> 8;
  Atomics.store(bytes, at + PHASE_BYTE, statusAndPhase & 0xff);
}
