import { readdirSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Caller, FileFacts, FileKind } from '../file-facts.ts';

/** The most that is read of one file, in bytes: the largest is modules.alias. */
const MAX_FILE_SIZE = 32 * 1024 * 1024;

/**
 * The machine as files: /proc, /sys, /dev, /boot, /lib/modules below a root, which tests put elsewhere. Nothing is
 * opened but what is read here: a device file may do something when it is opened.
 */
export class Host {
  readonly root: string;
  readonly caller: Caller;

  /** `root` is where the file system begins; `caller` who asks, this process unless told otherwise. */
  constructor(root = '/', caller: Caller = currentCaller()) {
    this.root = root;
    this.caller = caller;
  }

  /** A path of the host. */
  path(...parts: readonly string[]): string {
    return join(this.root, ...parts);
  }

  /** A text without the space around it; null when it can't be read. */
  text(...parts: readonly string[]): string | null {
    try {
      const path = this.path(...parts);
      // Files of /proc and /sys say 0 or a page; what is larger than any of them is none.
      return statSync(path).size > MAX_FILE_SIZE ? null : readFileSync(path, 'utf8').trim();
    } catch {
      return null;
    }
  }

  /** The names in a folder; null when it can't be read. */
  list(...parts: readonly string[]): string[] | null {
    try {
      return readdirSync(this.path(...parts)).sort();
    } catch {
      return null;
    }
  }

  /** The last part of where a link leads, such as a driver's name; null when there is none. */
  linkName(...parts: readonly string[]): string | null {
    const target = this.link(...parts);
    return target === null ? null : basename(target);
  }

  /** Where a link leads; null when there is none. */
  link(...parts: readonly string[]): string | null {
    try {
      return readlinkSync(this.path(...parts));
    } catch {
      return null;
    }
  }

  /** Whether a path is there. */
  has(...parts: readonly string[]): boolean {
    return this.file(...parts).kind !== 'missing';
  }

  /** What there is to know of a path without opening it; links are followed. */
  file(...parts: readonly string[]): FileFacts {
    return fileFacts(this.path(...parts));
  }
}

/** What there is to know of a path without opening it; links are followed. */
export function fileFacts(path: string): FileFacts {
  try {
    const stats = statSync(path);
    return { path, kind: kindOf(stats), mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
  } catch (error) {
    const kind = codeOf(error) === 'EACCES' ? 'out of reach' : 'missing';
    return { path, kind, mode: 0, uid: 0, gid: 0 };
  }
}

/** The first folder on the way to `path` that is not there; null when all are. */
export function missingFolder(path: string): string | null {
  const parts = path.split('/').slice(0, -1);
  for (let count = 1; count <= parts.length; count += 1) {
    const folder = parts.slice(0, count).join('/') || '/';
    if (fileFacts(folder).kind === 'missing') return folder;
  }
  return null;
}

function currentCaller(): Caller {
  return {
    uid: process.geteuid?.() ?? 0,
    gids: [process.getegid?.() ?? 0, ...(process.getgroups?.() ?? [])],
  };
}

function kindOf(stats: Stats): FileKind {
  if (stats.isSocket()) return 'socket';
  if (stats.isDirectory()) return 'directory';
  if (stats.isCharacterDevice()) return 'character device';
  return stats.isFile() ? 'file' : 'other';
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
