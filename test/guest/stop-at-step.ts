import { existsSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import type { Running, Shell } from '../cli/ferry.ts';

/** Runs before the command, and stops it where it is told to. */
const STOPPER = fileURLToPath(new URL('stop-at-step.js', import.meta.url));
const WAIT = { timeout: 60_000 };

/** Starts a command; returns when it has come to a point of its work, and does nothing more. `mark` is a file for that. */
export async function startAndStop(
  shell: Shell,
  args: readonly string[],
  point: string,
  mark: string,
): Promise<Running> {
  rmSync(mark, { force: true });
  const running = shell.startWith(STOPPER, { FERRY_STOP_AT: point, FERRY_STOPPED: mark }, args);
  const ended = running.ended.then(({ stdout }) => {
    throw new Error(`it never came to ${point}: ${stdout}`);
  });
  const reached = vi.waitUntil(() => existsSync(mark) && isStopped(running), WAIT);
  ended.catch(() => {});
  await Promise.race([reached, ended]);
  return running;
}

/** Whether a process does nothing until it is continued (proc(5)). */
function isStopped({ process: { pid } }: Running): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
}
