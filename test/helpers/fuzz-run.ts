import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadNative } from '../../src/native/index.ts';
import { settle } from './served.ts';

const native = loadNative();

/** Memory in use when nothing is left to collect, bytes. */
export async function memoryInUse(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  for (let again = 0; again < 3; again += 1) {
    collect();
    await settle(20);
  }
  return process.memoryUsage.rss();
}

/** fds of every kind, which may be attached to whatever is said, and what nobody has caught. */
export class FuzzRun {
  readonly pool: readonly number[];
  /** What went wrong. */
  readonly bugs: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'ferry-fuzz-'));
  readonly #unhandled = (reason: unknown): void => this.bug('unhandled', reason);

  constructor() {
    const fifo = join(this.#folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const pair = new Int32Array(2);
    native.socketpair(pair);
    native.close(pair[1] ?? -1);
    this.pool = [
      ...[native.eventfd(0), native.eventfd(0), native.memfd('a', 65_536, true), native.memfd('b', 1, false)],
      ...[pair[0] ?? -1, openSync(fifo, constants.O_RDWR)],
      ...[openSync('/dev/null', 'w'), openSync(this.#folder, 'r')],
    ];
    process.on('unhandledRejection', this.#unhandled);
  }

  /** Notes what must not happen, with where it did. */
  bug(where: string, error: unknown): void {
    this.bugs.push(`${where}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }

  close(): void {
    process.off('unhandledRejection', this.#unhandled);
    for (const fd of this.pool) closeSync(fd);
    rmSync(this.#folder, { recursive: true });
  }
}
