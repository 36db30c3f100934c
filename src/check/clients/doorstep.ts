import { rmSync } from 'node:fs';
import { Errno, errnoName } from '../../errors/index.ts';
import type { Native, WatchHandle } from '../../native/index.ts';
import { wouldRemain } from '../remains.ts';
import { inconclusive } from '../verdict.ts';

const BACKLOG = 8;
const OWNER_ONLY = 0o600;

/** A socket on which clients are waited for, one after the other. */
export class Doorstep {
  readonly path: string;
  readonly #native: Native;
  readonly #listener: number;
  readonly #watch: WatchHandle;
  readonly #forget: () => void;
  #taken: ((fd: number) => void) | null = null;
  #waiting: number[] = [];

  /** Listens. Throws InconclusiveError when the path can't be used. */
  constructor(native: Native, path: string) {
    this.path = path;
    this.#native = native;
    this.#listener = native.listen(path, OWNER_ONLY, BACKLOG);
    if (this.#listener < 0) inconclusive(`${path} can't be listened on: ${errnoName(-this.#listener)}`);
    const watch = native.watchStart(this.#listener, () => this.#accept());
    if (typeof watch === 'number') inconclusive(`the socket can't be watched: ${errnoName(-watch)}`);
    this.#watch = watch;
    this.#forget = wouldRemain(() => this.#remove());
  }

  /** Gives each connection to `take`, those that wait first; null: they wait. */
  set onConnection(take: ((fd: number) => void) | null) {
    this.#taken = take;
    if (take !== null) for (const fd of this.#waiting.splice(0)) take(fd);
  }

  /** Stops listening and removes the socket. */
  close(): void {
    this.#native.watchClose(this.#watch);
    this.#native.close(this.#listener);
    for (const fd of this.#waiting.splice(0)) this.#native.close(fd);
    this.#remove();
    this.#forget();
  }

  #remove(): void {
    rmSync(this.path, { force: true });
  }

  #accept(): void {
    const fd = this.#native.accept(this.#listener);
    if (fd === -Errno.EAGAIN || fd < 0) return;
    if (this.#taken === null) this.#waiting.push(fd);
    else this.#taken(fd);
  }
}
