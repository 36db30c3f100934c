import type { ProcessFacts } from '../process-facts.ts';
import type { Host } from './host.ts';

/** What /proc shows of a process; null when there is none with this id. */
export function processFacts(host: Host, pid: number): ProcessFacts | null {
  if (!host.has('proc', String(pid))) return null;
  const name = host.text('proc', String(pid), 'comm') ?? String(pid);
  const line = host.text('proc', String(pid), 'cmdline') ?? '';
  return { pid, name, args: line.split('\0').filter((arg) => arg !== ''), state: stateOf(host, pid) };
}

/** The process that has a socket open, by the socket's inode; null when none may be looked into that has. */
export function ownerOfSocket(host: Host, inode: number): number | null {
  const wanted = `socket:[${inode}]`;
  for (const pid of host.list('proc') ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    const fds = host.list('proc', pid, 'fd') ?? [];
    if (fds.some((fd) => host.link('proc', pid, 'fd', fd) === wanted)) return Number(pid);
  }
  return null;
}

/** The name of the program may have blanks and brackets, so the state is what follows the last bracket (proc(5)). */
function stateOf(host: Host, pid: number): string | null {
  const stat = host.text('proc', String(pid), 'stat');
  return stat === null ? null : (/\) (\w)/.exec(stat.slice(stat.lastIndexOf(')')))?.[1] ?? null);
}
