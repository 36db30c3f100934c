import { Errno } from '../errors/index.ts';
import type { Spin } from '../relay/index.ts';
import type { Link } from './link.ts';

/** How long one session may keep the thread to itself while its messages follow each other, in milliseconds. */
const BUDGET_MS = 0.5;

/** Says on which link something is to be expected when something has come from `link`; null: nowhere. */
export type Across = (link: Link) => Link | null;

/**
 * Looks for the answer to what has just been passed on, and for what follows from that: sleeping and being woken up costs
 * more than a message does.
 */
export class Follower {
  readonly #spin: Spin;
  readonly #across: Across;
  /** What is found is being handled, so that what follows from it is looked for already. */
  #following = false;

  constructor(spin: Spin, across: Across) {
    this.#spin = spin;
    this.#across = across;
  }

  /** Something has come from `link` and was passed on. */
  follow(link: Link): void {
    if (this.#following) return;
    const end = performance.now() + BUDGET_MS;
    this.#following = true;
    for (let next = this.#across(link); next !== null; next = this.#across(next)) {
      const result = this.#spin.wait(next, end);
      if (result === -Errno.EAGAIN) break;
      next.take(result);
    }
    this.#following = false;
  }
}
