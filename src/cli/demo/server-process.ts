import { type ChildProcess, spawn } from 'node:child_process';
import { Errno, FerryError } from '../../errors/index.ts';

/** A `ferry serve` that the demo has started. */
export interface ServerProcess {
  readonly socketPath: string;
  readonly pid: number;
  /** Settles when it listens; rejects when it ends instead, with what it said. */
  readonly listening: Promise<void>;
  /** Ends it, by force if it does not end by itself. Never rejects. */
  stop(): Promise<void>;
}

/** What {@link startServer} is told. */
export interface ServerProcessOptions {
  /** The command line of `ferry` itself. */
  readonly ferry: readonly string[];
  readonly socketPath: string;
  readonly arguments: readonly string[];
}

/** How long a server may take to listen, in milliseconds: it may load a large image first. */
const START_LIMIT_MS = 30_000;
/** How long it may take to end after SIGTERM, in milliseconds. */
const STOP_LIMIT_MS = 2_000;

/** Starts `ferry serve memory`. */
export function startServer(options: ServerProcessOptions): ServerProcess {
  const [command = process.execPath, ...first] = options.ferry;
  const rest = ['serve', 'memory', '--until-stdin-ends', '--socket-path', options.socketPath];
  // In a group of its own: a Ctrl-C is for the demo, which ends its servers in order. A demo that is killed can't: its
  // end of their standard input closes by itself.
  const child = spawn(command, [...first, ...rest, ...options.arguments], { stdio: 'pipe', detached: true });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    socketPath: options.socketPath,
    pid: child.pid ?? 0,
    listening: untilListening(child),
    stop: () => stopChild(child, ended),
  };
}

function untilListening(child: ChildProcess): Promise<void> {
  let said = '';
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(startFailed(`${why}${said === '' ? '' : `: ${said.trim()}`}`));
    const timer = setTimeout(() => fail('does not listen'), START_LIMIT_MS);
    child.once('error', (error) => fail(`can't be started: ${error.message}`));
    child.once('close', (status, signal) => fail(`ended with ${signal ?? `status ${status}`}`));
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
    });
    child.stdout?.once('data', () => {
      clearTimeout(timer);
      resolve();
    });
    child.once('close', () => clearTimeout(timer));
  });
}

async function stopChild(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await ended;
  clearTimeout(force);
}

function startFailed(why: string): FerryError {
  return new FerryError('ERR_DEMO_SERVER', `a server of the demo ${why}`, { errno: Errno.EIO });
}
