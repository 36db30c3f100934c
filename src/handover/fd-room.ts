import { readdirSync, readFileSync } from 'node:fs';

/** Descriptors that a process needs besides: for duplicates, the author's, whoever connects next. */
const MARGIN = 64;

/** How many files this process may still open (RLIMIT_NOFILE, proc_pid_limits(5)); Infinity where that can't be found out. */
export function fdRoom(): number {
  try {
    return roomOf(readFileSync('/proc/self/limits', 'utf8'), readdirSync('/proc/self/fd').length);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** The same, by the text of /proc/self/limits and how many files are open. */
export function roomOf(limits: string, open: number): number {
  const [, soft = 'unlimited'] = /^Max open files\s+(\S+)/m.exec(limits) ?? [];
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Math.max(0, Number(soft) - open);
}

/**
 * Why so many descriptors can't be taken over by who may still open `room` files; null when they can. The kernel drops what
 * does not fit without a word to whoever has sent it (unix(7), MSG_CTRUNC), so that is found out before. Node has raised
 * the limit as far as it may.
 */
export function fdShortage(count: number, room: number): string | null {
  if (count + MARGIN <= room) return null;
  return (
    `the running server has ${count} descriptors to pass on, and this process may open only ${room} more files: ` +
    `raise its limit by at least ${count + MARGIN - room} (ulimit -Hn, or LimitNOFILE= of its unit) and try again`
  );
}
