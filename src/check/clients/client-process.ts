import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

/** How much of a client's standard error is kept, characters. */
const KEPT_LOG = 16_384;
/** How long a client may take to end after SIGTERM, milliseconds. */
const END_MS = 2000;

/** A client that was started for one behaviour, in a process group that ends as a whole. */
export class ClientProcess {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  #outcome: string | null = null;
  #log = '';

  /** Starts a line of the shell. */
  constructor(line: string, folder: string) {
    const stdio = ['ignore', 'ignore', 'pipe'] as const;
    // exec: the shell's pid is the client's, and so is the signal by which it ends.
    this.#child = spawn('/bin/sh', ['-c', `exec ${line}`], {
      cwd: folder,
      detached: true,
      stdio: [...stdio],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-KEPT_LOG);
    });
    this.#closed = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#outcome ??= how;
        resolve();
      };
      this.#child.once('error', (error) => end(error.message));
      this.#child.once('exit', (status, signal) => end(signal ?? `status ${status}`));
    });
  }

  /** How it has ended: `status 0`, `SIGSEGV`; null while it has not. */
  get outcome(): string | null {
    return this.#outcome;
  }

  /** The end of its standard error. */
  get log(): string {
    return this.#log;
  }

  /** Waits for its end, for so long at most. */
  async ends(ms: number): Promise<void> {
    const waiting = new AbortController();
    const late = delay(ms, undefined, { signal: waiting.signal }).catch(() => {});
    await Promise.race([this.#closed, late]);
    waiting.abort();
  }

  /** Ends it, and whatever it has started. */
  async stop(): Promise<void> {
    if (this.#outcome === null) {
      this.#signal('SIGTERM');
      await this.ends(END_MS);
    }
    this.#signal('SIGKILL');
    await this.#closed;
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // Nobody of the group is left.
    }
  }
}
