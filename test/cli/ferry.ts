import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** The command line of the built `ferry`. */
export const FERRY = [process.execPath, main];
/** The same for a shell. */
export const FERRY_LINE = FERRY.map((word) => `'${word}'`).join(' ');

/** How a command ended. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `ferry` that is running. */
export interface Running {
  readonly process: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Outcome>;
  /** Settles when a line of either stream contains `text`; rejects when the process ends before. */
  sees(text: string): Promise<void>;
  /** Writes to its standard input. */
  send(text: string): void;
  kill(signal: NodeJS.Signals): Promise<Outcome>;
}

/** Runs commands in a folder of their own; {@link close} ends and removes everything. */
export class Shell {
  readonly folder = mkdtempSync(join(tmpdir(), 'ferry-cli-'));
  readonly #running = new Set<Running>();

  constructor() {
    if (!existsSync(main)) throw new Error('dist/ is missing: run npm run build first');
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Starts `ferry`; `stdio` are fds that it inherits from 3 on. */
  start(args: readonly string[], stdio: readonly number[] = []): Running {
    return this.#spawn(process.execPath, [main, ...args], stdio);
  }

  /** Starts `ferry` in a process in which another module runs before, with more in its environment. */
  startWith(module: string, environment: Readonly<Record<string, string>>, args: readonly string[]): Running {
    return this.#spawn(process.execPath, ['--import', module, main, ...args], [], environment);
  }

  #spawn(
    command: string,
    args: readonly string[],
    stdio: readonly number[],
    environment: Readonly<Record<string, string>> = {},
  ): Running {
    const child = spawn(command, args, {
      cwd: this.folder,
      stdio: ['pipe', 'pipe', 'pipe', ...stdio],
      env: { ...process.env, NO_COLOR: '1', FERRY_JOURNAL: this.path('journal'), ...environment },
    });
    const running = watch(child);
    this.#running.add(running);
    void running.ended.then(() => this.#running.delete(running));
    return running;
  }

  /** Runs `ferry` to its end. */
  run(...args: readonly string[]): Promise<Outcome> {
    return this.start(args).ended;
  }

  /** Starts a line of the shell. */
  startLine(line: string): Running {
    return this.#spawn('bash', ['-o', 'pipefail', '-c', line], []);
  }

  /** Runs a line of the shell to its end; a part of a pipeline that fails makes it fail. */
  sh(line: string): Promise<Outcome> {
    return this.startLine(line).ended;
  }

  /** Starts `ferry serve` and waits until it listens. */
  async serve(device: string, socket: string, ...more: readonly string[]): Promise<Running> {
    const running = this.start(['serve', device, '--socket-path', this.path(socket), ...more]);
    await running.sees('listening');
    return running;
  }

  async close(): Promise<void> {
    for (const running of this.#running) await running.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function watch(child: ChildProcess): Running {
  const text = { stdout: '', stderr: '' };
  const looks = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (piece: string) => {
      text[name] += piece;
      for (const look of looks) look();
    });
  }
  const ended = new Promise<Outcome>((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal, ...text }));
  });
  const sees = (wanted: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!text.stdout.includes(wanted) && !text.stderr.includes(wanted)) return;
        looks.delete(look);
        resolve();
      };
      looks.add(look);
      look();
      void ended.then(() => reject(new Error(`ended without "${wanted}":\n${text.stdout}${text.stderr}`)));
    });
  const kill = (signal: NodeJS.Signals): Promise<Outcome> => {
    child.kill(signal);
    return ended;
  };
  // What is written to a process that has ended is of no interest.
  child.stdin?.on('error', () => {});
  const send = (input: string): void => void child.stdin?.write(input);
  return { process: child, stdout: () => text.stdout, stderr: () => text.stderr, ended, sees, send, kill };
}

/** The JSON value in the last line of a text. */
export function lastJson(text: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(text.trim().split('\n').at(-1) ?? '');
  if (typeof parsed !== 'object' || parsed === null) throw new Error(`no JSON object: ${text}`);
  return { ...parsed };
}
