import { type ChildProcess, spawn } from 'node:child_process';
import { lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inconclusive } from '../verdict.ts';
import type { Instance, Launcher } from './instance.ts';

/** How servers are started. */
export interface SpawnOptions {
  /** A line for the shell, with `{socket}` where the path of the socket goes, and perhaps `{control}`. */
  readonly command: string;
  /** How long a server may take until its socket is there, milliseconds. */
  readonly startMs: number;
}

/** How long a server may take to end after SIGTERM. */
const END_MS = 2000;
/** How long is waited to see whether a process has ended. */
const LOOK_MS = 300;
/** How much of standard error is kept, characters. */
const KEPT_LOG = 16_384;

/** Starts a server of its own for each launch, in a folder of its own, in a process group that ends as a whole. */
export function spawnedServers(options: SpawnOptions): Launcher {
  return { fresh: true, subject: options.command, launch: () => launch(options) };
}

async function launch({ command, startMs }: SpawnOptions): Promise<Instance> {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-check-'));
  const socketPath = join(folder, 'server.sock');
  const control = join(folder, 'control.sock');
  const line = command.replaceAll('{socket}', socketPath).replaceAll('{control}', control);
  const server = new SpawnedServer(line, folder, {
    socketPath,
    controlPath: command.includes('{control}') ? control : null,
  });
  try {
    await server.listens(startMs);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

class SpawnedServer implements Instance {
  readonly socketPath: string;
  readonly controlPath: string | null;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #closed: Promise<void>;
  /** The shell has made way for the server, so that its pid is the server's. */
  readonly #simple: boolean;
  #outcome: string | null = null;
  #log = '';

  constructor(line: string, folder: string, paths: Pick<Instance, 'socketPath' | 'controlPath'>) {
    this.socketPath = paths.socketPath;
    this.controlPath = paths.controlPath;
    this.#folder = folder;
    this.#simple = !/[;&|<>()$`\n]/.test(line);
    // A group of its own, so that what a shell or the server started ends too.
    this.#child = spawn('/bin/sh', ['-c', this.#simple ? `exec ${line}` : line], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
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

  get pid(): number | null {
    const { pid = null } = this.#child;
    if (pid === null || this.#outcome !== null) return null;
    return this.#simple ? pid : onlyChild(pid);
  }

  async listens(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (!isSocket(this.socketPath) || (this.controlPath !== null && !isSocket(this.controlPath))) {
      if (this.#outcome !== null) inconclusive(`the server ended (${this.#outcome})${this.#quoted()}`);
      if (performance.now() > deadline) {
        inconclusive(`the server had no socket at ${this.socketPath} after ${ms} ms${this.#quoted()}`);
      }
      await delay(10);
    }
  }

  async ended(): Promise<string | null> {
    await Promise.race([this.#closed, delay(LOOK_MS)]);
    return this.#outcome;
  }

  takeLog(): string {
    const log = this.#log;
    this.#log = '';
    return log;
  }

  async stop(): Promise<void> {
    this.#signal('SIGTERM');
    await Promise.race([this.#closed, delay(END_MS)]);
    // Also what the server has started and left behind.
    this.#signal('SIGKILL');
    await this.#closed;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #quoted(): string {
    const said = this.#log.trim();
    return said === '' ? '' : `; it said: ${said}`;
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

/** What a shell has started and waits for; the shell itself when that can't be told. */
function onlyChild(shell: number): number {
  try {
    const children = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim().split(' ');
    const [child = ''] = children;
    return children.length === 1 && child !== '' ? Number(child) : shell;
  } catch {
    return shell;
  }
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
