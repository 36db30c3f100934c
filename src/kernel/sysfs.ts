import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** What the kernel tells of devices by files. Whatever is not there, or can't be read, is null or empty. */
export interface Sysfs {
  /** The content of a file, trimmed. */
  read(path: string): string | null;
  /** The last part of what a link points to. */
  link(path: string): string | null;
  /** The names in a folder, sorted. */
  list(path: string): readonly string[];
}

/** The files of this machine. */
export const sysfs: Sysfs = {
  read: (path) => attempt(() => readFileSync(path, 'utf8').trim()),
  link: (path) => attempt(() => basename(readlinkSync(path))),
  list: (path) => attempt(() => readdirSync(path).sort()) ?? [],
};

function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return null;
    throw error;
  }
}
