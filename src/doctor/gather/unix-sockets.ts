import type { Host } from './host.ts';

/** A UNIX socket of this network namespace that has a path. */
export interface UnixSocket {
  readonly path: string;
  readonly inode: number;
  /** It waits for clients; or it is the server's end of a connection, which the server has accepted or not yet. */
  readonly role: 'listens' | 'accepted' | 'waits';
}

/** The flag of a listening socket (__SO_ACCEPTCON, linux/net.h). */
const ACCEPTS = 0x10000;

/**
 * The sockets with a path that /proc/net/unix names; null when it can't be read. The server's end of a connection has an inode from the moment
 * in which it is accepted (net/unix/af_unix.c, unix_seq_show).
 */
export function unixSockets(host: Host): UnixSocket[] | null {
  const text = host.text('proc/net/unix');
  if (text === null) return null;
  return text.split('\n').flatMap((line) => {
    const match = /^\s*[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ ([0-9A-F]+) [0-9A-F]+ [0-9A-F]+\s+(\d+) (\/.*)$/.exec(
      line,
    );
    if (match === null) return [];
    const [, flags = '', inode = '', path = ''] = match;
    const listens = (Number.parseInt(flags, 16) & ACCEPTS) !== 0;
    return [{ path, inode: Number(inode), role: listens ? 'listens' : inode === '0' ? 'waits' : 'accepted' }];
  });
}
