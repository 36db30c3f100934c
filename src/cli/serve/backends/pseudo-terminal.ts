import { chmodSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { check, type Native } from '../../../native/index.ts';
import { MasterStream } from './master-stream.ts';

const OWNER_ONLY = 0o600;
/** How often a line that nobody has open is looked at, in milliseconds: that a hang-up ends is no event of poll(2). */
const LOOK_MS = 50;
/** poll(2) event bits (poll.h). */
const POLLIN = 1;
const POLLHUP = 0x10;

/**
 * A pseudo-terminal whose slave others open, one session after the other: when the last of them has closed it, whoever
 * opens it next begins a new one. Only its owner may open it (mode 0600).
 */
export class PseudoTerminal {
  /** What others open. */
  readonly path: string;
  readonly #native: Native;
  readonly #fd: number;
  readonly #opened: (session: Duplex) => void;
  readonly #set: Int32Array;
  readonly #looks: NodeJS.Timeout;
  #session: Duplex | null = null;

  /**
   * `opened` is called when somebody has opened it, or has been there and left something to read; the stream closes
   * when they have hung up. Throws NativeError when the system has no pseudo-terminal to give.
   */
  constructor(native: Native, opened: (session: Duplex) => void) {
    const { fd, path } = check(native.pseudoTerminal(), 'pseudoTerminal');
    this.path = path;
    this.#native = native;
    this.#fd = fd;
    this.#opened = opened;
    this.#set = Int32Array.of(fd, POLLIN, 0);
    chmodSync(path, OWNER_ONLY);
    this.#looks = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Ends the session and gives the terminal back to the system. */
  close(): void {
    clearInterval(this.#looks);
    this.#session?.destroy();
    this.#native.close(this.#fd);
  }

  #look(): void {
    if (this.#session !== null) return;
    const ready = this.#native.poll(this.#set, 1, 0) > 0 ? (this.#set[2] ?? 0) : 0;
    if ((ready & POLLHUP) !== 0 && (ready & POLLIN) === 0) return;
    const session = new MasterStream(this.#native, this.#fd);
    this.#session = session;
    session.once('close', () => {
      this.#session = null;
    });
    this.#opened(session);
  }
}
