import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ProcessGroup } from '../process-group.ts';
import { temporaryFolder } from '../remains.ts';
import { inconclusive } from '../verdict.ts';
import type { Instance, Launcher } from './instance.ts';

/** How servers are started. */
export interface SpawnOptions {
  /** A line for the shell, with `{socket}` where the path of the socket goes, and perhaps `{control}`. */
  readonly command: string;
  /** How long a server may take until its socket is there, milliseconds. */
  readonly startMs: number;
}

/** How long is waited to see whether a process has ended. */
const LOOK_MS = 300;

/** Starts a server of its own for each launch, in a folder of its own, in a process group that ends as a whole. */
export function spawnedServers(options: SpawnOptions): Launcher {
  return { fresh: true, subject: options.command, launch: () => launch(options) };
}

async function launch({ command, startMs }: SpawnOptions): Promise<Instance> {
  const folder = temporaryFolder();
  const socketPath = join(folder.path, 'server.sock');
  const control = join(folder.path, 'control.sock');
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
  readonly #processes: ProcessGroup;
  readonly #folder: ReturnType<typeof temporaryFolder>;
  /** The shell has made way for the server, so that its pid is the server's. */
  readonly #simple: boolean;

  constructor(
    line: string,
    folder: ReturnType<typeof temporaryFolder>,
    paths: Pick<Instance, 'socketPath' | 'controlPath'>,
  ) {
    this.socketPath = paths.socketPath;
    this.controlPath = paths.controlPath;
    this.#folder = folder;
    this.#simple = !/[;&|<>()$`\n]/.test(line);
    this.#processes = new ProcessGroup(this.#simple ? `exec ${line}` : line);
  }

  get pid(): number | null {
    const { pid } = this.#processes;
    return pid === null || this.#simple ? pid : onlyChild(pid);
  }

  async listens(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (!isSocket(this.socketPath) || (this.controlPath !== null && !isSocket(this.controlPath))) {
      const { outcome } = this.#processes;
      if (outcome !== null) inconclusive(`the server ended (${outcome})${this.#quoted()}`);
      if (performance.now() > deadline) {
        inconclusive(`the server had no socket at ${this.socketPath} after ${ms} ms${this.#quoted()}`);
      }
      await delay(10);
    }
  }

  async ended(): Promise<string | null> {
    await this.#processes.ends(LOOK_MS);
    return this.#processes.outcome;
  }

  takeLog(): string {
    return this.#processes.takeLog();
  }

  async stop(): Promise<void> {
    await this.#processes.stop();
    this.#folder.remove();
  }

  #quoted(): string {
    const said = this.#processes.log.trim();
    return said === '' ? '' : `; it said: ${said}`;
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
