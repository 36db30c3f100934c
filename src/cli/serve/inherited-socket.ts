import { fstatSync } from 'node:fs';
import { check, type Native } from '../../native/index.ts';
import { UsageError } from '../outcome/usage-error.ts';

/** poll(2) event bit (poll.h). */
const POLLOUT = 4;

/** What an inherited socket is. */
export type InheritedSocket = 'listening' | 'connected';

/**
 * Whether a socket that was inherited listens or is connected: a listening one is never writable (unix_poll in the
 * kernel's net/unix/af_unix.c). Throws UsageError when the fd is no socket.
 */
export function inheritedSocket(native: Native, fd: number): InheritedSocket {
  if (!isSocket(fd))
    throw new UsageError(`fd ${fd} is no socket: it must be inherited, listening or connected`);
  const set = Int32Array.of(fd, POLLOUT, 0);
  check(native.poll(set, 1, 0), 'poll', { fd });
  return ((set[2] ?? 0) & POLLOUT) === 0 ? 'listening' : 'connected';
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false;
  }
}
