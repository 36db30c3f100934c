import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** A server that runs, as the suite sees it. */
export interface Instance {
  readonly socketPath: string;
  /** A socket on which the device is migrated while a client has the main one; null: the main socket does it all. */
  readonly controlPath: string | null;
  /** Its process; null where it can't be known. */
  readonly pid: number | null;
  /** How its process has ended, such as `SIGABRT`; null while it runs or nobody can tell. Waits a moment for it. */
  ended(): Promise<string | null>;
  /** What it has said on standard error since the last time that it was asked. */
  takeLog(): string;
  /** Ends it, if it was started here, and removes what it leaves behind. */
  stop(): Promise<void>;
}

/** Where servers come from. */
export interface Launcher {
  /** Whether each launch is a new server; otherwise it is always the same one, which must not be harmed. */
  readonly fresh: boolean;
  /** How reports call it. */
  readonly subject: string;
  /** @throws InconclusiveError when it does not start */
  launch(): Promise<Instance>;
}

/** How many descriptors a process has open; null where that can't be seen. */
export function openDescriptors(pid: number): number | null {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return null;
  }
}

/** Memory that is the process' own, bytes (proc_pid_status(5), RssAnon); null where that can't be seen. */
export function ownMemory(pid: number): number | null {
  try {
    const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}

/**
 * How many connections to a socket nobody has accepted, by /proc/net/unix: they have no inode yet (net/unix/af_unix.c,
 * unix_seq_show). 0 where that can't be seen.
 */
export function unaccepted(socketPath: string): number {
  const path = resolve(socketPath);
  try {
    const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
    return lines.filter((line) => /^[0-9a-f]+:(?: [0-9A-F]+){5} +0 (.*)$/.exec(line)?.[1] === path).length;
  } catch {
    return 0;
  }
}

/** A server that runs already, on its socket. */
export function runningServer(socketPath: string, controlPath: string | null): Launcher {
  const instance: Instance = {
    ...{ socketPath, controlPath, pid: null },
    ended: async () => null,
    takeLog: () => '',
    stop: async () => {},
  };
  return { fresh: false, subject: socketPath, launch: async () => instance };
}
