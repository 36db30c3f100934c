import { readdirSync, readlinkSync } from 'node:fs';

/** The open fds of this process, with what they are; for a test to compare before and after. */
export function openFds(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return `${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`;
      } catch {
        return null; // the fd of the directory listing itself
      }
    })
    .filter((entry) => entry !== null);
}
