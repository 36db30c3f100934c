import type { Outgoing } from './outgoing.ts';

/** How often QEMU is asked where it is, in milliseconds. */
const PERIOD_MS = 50;
/** QEMU sends as long as anything is left; when nothing comes for so long, it is not waited for. */
const IDLE_MS = 1_000;

/**
 * A round of pre-copy is a pass of QEMU over the guest's memory. It sends without an end, since it is not let switch by
 * itself; so this says when a round is over.
 */
export class Round {
  readonly #now: () => number;
  #passes: number | null = null;
  #askedAt = Number.NEGATIVE_INFINITY;
  #heardAt: number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#heardAt = now();
  }

  /** Whether QEMU should be asked where it is. */
  get isDue(): boolean {
    return this.#now() - this.#askedAt >= PERIOD_MS;
  }

  /** Something has been sent. */
  heard(): void {
    this.#heardAt = this.#now();
  }

  /** QEMU was asked: whether the round is over. The next one begins then. */
  isOver({ status, passes }: Outgoing): boolean {
    this.#askedAt = this.#now();
    const paused = status === 'pre-switchover';
    // It prepares itself, and knows of nothing that is to be sent.
    if (passes === 0 && !paused) return false;
    this.#passes ??= passes;
    const idle = this.#now() - this.#heardAt >= IDLE_MS;
    if (passes === this.#passes && !paused && !idle) return false;
    this.#passes = passes;
    this.heard();
    return true;
  }
}
