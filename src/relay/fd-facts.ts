import { fstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs';

/** What a file descriptor is, as far as its holder can tell. The order is that of the recorded numbers. */
export const FD_KINDS = [
  'unknown',
  'memfd',
  'file',
  'eventfd',
  'socket',
  'device',
  'pipe',
  'folder',
  'anonymous',
] as const;

/** One of {@link FD_KINDS}. */
export type FdKind = (typeof FD_KINDS)[number];

/** A descriptor that came with a message. */
export interface FdFacts {
  readonly kind: FdKind;
  /** Of what has one, in bytes; otherwise 0. */
  readonly size: bigint;
  /** Equal for descriptors of the same file; 0 when that can't be told, as for eventfds. */
  readonly identity: bigint;
}

const NOTHING: FdFacts = { kind: 'unknown', size: 0n, identity: 0n };

/** What an open descriptor of this process is. Asks the kernel a few times, so it is for those that come with messages. */
export function fdFactsOf(fd: number): FdFacts {
  try {
    const stats = fstatSync(fd);
    const link = readlinkSync(`/proc/self/fd/${fd}`);
    const kind = kindOf(stats, link);
    const sized = kind === 'memfd' || kind === 'file';
    return { kind, size: sized ? BigInt(stats.size) : 0n, identity: identityOf(fd, kind, stats) };
  } catch {
    // It was closed meanwhile, or /proc is not there.
    return NOTHING;
  }
}

function kindOf(stats: Stats, link: string): FdKind {
  if (link === 'anon_inode:[eventfd]') return 'eventfd';
  if (link.startsWith('anon_inode:')) return 'anonymous';
  if (stats.isSocket()) return 'socket';
  if (stats.isFIFO()) return 'pipe';
  if (stats.isDirectory()) return 'folder';
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return 'device';
  if (!stats.isFile()) return 'unknown';
  return link.startsWith('/memfd:') ? 'memfd' : 'file';
}

/** All eventfds share an inode; what tells them apart stands in their fdinfo (Linux 5.2, fs/eventfd.c). */
function identityOf(fd: number, kind: FdKind, { dev, ino }: Stats): bigint {
  if (kind === 'anonymous') return 0n;
  if (kind !== 'eventfd') return (BigInt(dev) << 40n) ^ BigInt(ino);
  const [, id = '0'] = /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
  // Ids count from 0, which stands for what is not known.
  return BigInt(id) + 1n;
}
