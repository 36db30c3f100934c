import type { Native } from '../native/index.ts';
import type { StatFile } from './backing.ts';

/** A file that stays open for as long as somebody needs it. */
export interface KeptFd {
  readonly fd: number;
  /** The caller needs it no more. To be called once. */
  release(): void;
}

interface Entry {
  readonly fd: number;
  users: number;
}

/**
 * The files behind maps, kept open so that another process can be given them. A client sends a descriptor with every map,
 * and most of them are of the same file: of each regular file one is kept.
 */
export class KeptFds {
  readonly #native: Native;
  readonly #stat: StatFile;
  readonly #entries = new Map<string, Entry>();

  constructor(native: Native, stat: StatFile) {
    this.#native = native;
    this.#stat = stat;
  }

  /** Takes `fd` over, which can be mapped for writing if `writable`; what is given back may be another one of the same file. */
  keep(fd: number, writable: boolean): KeptFd {
    const key = this.#identityOf(fd, writable);
    const known = key === null ? undefined : this.#entries.get(key);
    if (known !== undefined) this.#native.close(fd);
    const entry = known ?? { fd, users: 0 };
    if (key !== null) this.#entries.set(key, entry);
    entry.users += 1;
    return { fd: entry.fd, release: () => this.#release(key, entry) };
  }

  /** Which file it is; null for what is no regular file: all of a kind may look the same then. */
  #identityOf(fd: number, writable: boolean): string | null {
    const facts = this.#stat(fd);
    if (!facts.isFile() || facts.dev === undefined || facts.ino === undefined) return null;
    return `${facts.dev}:${facts.ino}:${writable ? 'w' : 'r'}`;
  }

  #release(key: string | null, entry: Entry): void {
    entry.users -= 1;
    if (entry.users > 0) return;
    if (key !== null) this.#entries.delete(key);
    this.#native.close(entry.fd);
  }
}
