import type { Host } from './host.ts';

/** A UNIX socket of this network namespace that has a path. */
export interface UnixSocket {
  readonly path: string;
  readonly inode: number;
  /** It waits for clients; one that does not is the server's end of a connection. */
  readonly listening: boolean;
}

/** The flag of a listening socket (__SO_ACCEPTCON, linux/net.h). */
const ACCEPTS = 0x10000;

/** The sockets with a path that /proc/net/unix names; null when it can't be read. */
export function unixSockets(host: Host): UnixSocket[] | null {
  const text = host.text('proc/net/unix');
  if (text === null) return null;
  return text.split('\n').flatMap((line) => {
    const match = /^\s*[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ ([0-9A-F]+) [0-9A-F]+ [0-9A-F]+\s+(\d+) (\/.*)$/.exec(
      line,
    );
    if (match === null) return [];
    const [, flags = '', inode = '', path = ''] = match;
    return [{ path, inode: Number(inode), listening: (Number.parseInt(flags, 16) & ACCEPTS) !== 0 }];
  });
}
