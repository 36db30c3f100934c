import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { keptArguments } from './command-line.ts';
import type { Target } from './target.ts';

/** The fd on which the new process says how it went. */
const READY_FD = 3;
/** How long a new process may take in all, in milliseconds. */
const LIMIT_MS = 120_000;
/** The longest thing that it says, in bytes. */
const MAX_LINE = 64 * 1024;

/**
 * Starts the program that this is as a new server for the device, with the arguments, the folder and the standard streams
 * of the running one. Settles with what it says of itself, one JSON value; null when it ended without a word.
 */
export async function startSuccessor(target: Target, program: string): Promise<unknown> {
  const streams = [0, 1, 2].map((fd) => streamOf(target.pid, fd));
  const ready = ['--take-over', target.control, '--ready-fd', `${READY_FD}`];
  const args = [...process.execArgv, program, 'serve', ...keptArguments(target.args), ...ready];
  const child = spawn(process.execPath, args, {
    cwd: target.folder,
    detached: true,
    stdio: [...streams, 'pipe'],
  });
  for (const stream of streams) if (typeof stream === 'number') closeSync(stream);
  child.on('error', () => {});
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  try {
    const [, , , said] = child.stdio;
    return said !== null && said !== undefined && 'read' in said ? parse(await firstLine(said)) : null;
  } finally {
    clearTimeout(timer);
    child.unref();
  }
}

/** The same file, terminal or pipe that another process has as a standard stream; nothing where that can't be opened. */
function streamOf(pid: number, fd: number): number | 'ignore' {
  const { O_RDONLY, O_WRONLY, O_APPEND, O_NONBLOCK } = constants;
  try {
    return openSync(`/proc/${pid}/fd/${fd}`, fd === 0 ? O_RDONLY | O_NONBLOCK : O_WRONLY | O_APPEND);
  } catch {
    return 'ignore';
  }
}

async function firstLine(stream: Readable): Promise<string> {
  let text = '';
  stream.setEncoding('utf8');
  for await (const piece of stream) {
    text += String(piece);
    if (text.includes('\n') || text.length > MAX_LINE) break;
  }
  return text;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
