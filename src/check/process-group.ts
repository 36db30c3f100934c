import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { wouldRemain } from './remains.ts';

/** How much of standard error is kept, characters. */
const KEPT_LOG = 16_384;
/** How long a process may take to end after SIGTERM, milliseconds. */
const END_MS = 2000;

/** Nothing is started before this process has seen to its end, however this process itself ends. */
const WAIT = 'read -r _ || exit 1';

/**
 * What a line of the shell has started, in a process group that ends as a whole: at the latest when this process has gone,
 * also by SIGKILL. Its standard input stays open and silent.
 */
export class ProcessGroup {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  readonly #forget: () => void;
  #outcome: string | null = null;
  #log = '';

  /** Starts a line of the shell, in that folder or the current one. */
  constructor(line: string, folder?: string) {
    this.#child = spawn('/bin/sh', ['-c', `${WAIT}\n${line}`], {
      ...(folder === undefined ? {} : { cwd: folder }),
      detached: true,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    const { pid, stdin } = this.#child;
    // It may have ended before it could read.
    stdin?.on('error', () => {});
    this.#forget = wouldRemain(
      () => this.#signal('SIGKILL'),
      pid === undefined ? null : { group: pid },
      () => void stdin?.write('\n'),
    );
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

  /** The number of the shell, or of what it has made way for; null once it has ended. */
  get pid(): number | null {
    return this.#outcome === null ? (this.#child.pid ?? null) : null;
  }

  /** How it has ended: `status 0`, `SIGSEGV`; null while it has not. */
  get outcome(): string | null {
    return this.#outcome;
  }

  /** The end of its standard error. */
  get log(): string {
    return this.#log;
  }

  /** The same; it is forgotten here. */
  takeLog(): string {
    const log = this.#log;
    this.#log = '';
    return log;
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
    this.#forget();
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
