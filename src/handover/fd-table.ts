import { check, type Native } from '../native/index.ts';
import { damagedRecord } from './handover-error.ts';
import { NO_FD } from './layout.ts';

/** The fds of a record while it is written: each is told by its place, and named once. */
export class FdList {
  readonly #places = new Map<number, number>();

  /** The place of an fd; NO_FD for null. */
  place(fd: number | null): number {
    if (fd === null) return NO_FD;
    const known = this.#places.get(fd);
    if (known !== undefined) return known;
    const place = this.#places.size;
    this.#places.set(fd, place);
    return place;
  }

  /** All of them, by place. */
  get fds(): readonly number[] {
    return [...this.#places.keys()];
  }
}

/**
 * The fds of a record while it is read. Who is given one owns it; what is named again is duplicated. At the end each has to
 * have been named.
 */
export class FdTable {
  readonly #native: Pick<Native, 'dup' | 'close'>;
  readonly #fds: readonly number[];
  readonly #taken = new Set<number>();
  /** Everything that was given away. */
  readonly given: number[] = [];

  constructor(native: Pick<Native, 'dup' | 'close'>, fds: readonly number[]) {
    this.#native = native;
    this.#fds = fds;
  }

  /** The fd at a place. */
  take(place: number): number {
    const fd = this.#fds[place];
    if (fd === undefined) throw damagedRecord(`names fd ${place} of ${this.#fds.length}`);
    const own = this.#taken.has(place) ? check(this.#native.dup(fd), 'dup', { fd }) : fd;
    this.#taken.add(place);
    this.given.push(own);
    return own;
  }

  /** The same where there may be none. */
  takeOptional(place: number): number | null {
    return place === NO_FD ? null : this.take(place);
  }

  /** Throws when there are fds that nobody has named. */
  end(): void {
    if (this.#taken.size !== this.#fds.length) throw damagedRecord('brings fds that it does not name');
  }

  /** Closes everything, given away or not. */
  closeAll(): void {
    for (const fd of new Set([...this.#fds, ...this.given])) this.#native.close(fd);
  }
}
