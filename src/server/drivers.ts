import type { MigrationState } from '../states/index.ts';
import { drivenByAnother, sessionAborted } from './migration-refusals.ts';

/** Who drives the migration of a device, and who did and has not noticed yet that it was ended. */
export class Drivers<Party extends object> {
  readonly #aborted = new WeakSet<Party>();
  #owner: Party | null = null;

  /** Who drives, or null. */
  get owner(): Party | null {
    return this.#owner;
  }

  /** `by` drives from now on. */
  take(by: Party): void {
    this.#owner = by;
  }

  /** Nobody drives. */
  rest(): void {
    this.#owner = null;
  }

  /** `by` is gone. */
  leave(by: Party): void {
    if (this.#owner === by) this.#owner = null;
  }

  /** Nobody drives any more but, perhaps, `by`; who did is told with ENODEV until it has noticed. */
  evict(by: Party): void {
    if (this.#owner === null || this.#owner === by) return;
    this.#aborted.add(this.#owner);
    this.#owner = null;
  }

  /** What `by` had begun has been ended, as another process has found. */
  markAborted(by: Party): void {
    this.#aborted.add(by);
  }

  /** Whether what `by` had begun has been ended, and it has not noticed. */
  isAborted(by: Party): boolean {
    return this.#aborted.has(by);
  }

  /** `by` knows how things are. */
  noticed(by: Party): void {
    this.#aborted.delete(by);
  }

  /** @throws ServerError ENODEV */
  requireNotAborted(by: Party): void {
    if (this.#aborted.has(by)) throw sessionAborted();
  }

  /** @throws ServerError EBUSY while another than `by` drives */
  requireNoOther(by: Party, state: MigrationState): void {
    if (this.#owner !== null && this.#owner !== by) throw drivenByAnother(state);
  }
}
