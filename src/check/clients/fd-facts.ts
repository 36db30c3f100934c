import { fstatSync, readlinkSync } from 'node:fs';
import type { FdFacts } from './happening.ts';

/** What a descriptor is that came from the client; it stays open. */
export function fdFacts(fd: number): FdFacts {
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (stats.isFile()) return { kind: 'memory', size: stats.size };
    if (stats.isSocket()) return { kind: 'socket', size: null };
    const name = readlinkSync(`/proc/self/fd/${fd}`);
    return { kind: name === 'anon_inode:[eventfd]' ? 'eventfd' : 'other', size: null };
  } catch {
    return { kind: 'other', size: null };
  }
}
