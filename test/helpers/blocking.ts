import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const O_NONBLOCK = 0o4000;

/**
 * Makes an fd blocking, as a peer's may be: whoever starts a process makes its standard streams so (libuv,
 * uv__process_child_init), and the flag is shared by all duplicates.
 */
export function makeBlocking(fd: number): void {
  spawnSync('true', { stdio: [fd, 'ignore', 'ignore'] });
  if (!isBlocking(fd)) throw new Error(`fd ${fd} could not be made blocking`);
}

/** Whether an fd lacks O_NONBLOCK (proc_pid_fdinfo(5)). */
export function isBlocking(fd: number): boolean {
  const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  return (Number.parseInt(flags ?? '0', 8) & O_NONBLOCK) === 0;
}
