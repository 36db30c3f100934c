import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** What decides where journals are kept. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** User id of the process; 0 is root. */
  readonly uid: number;
  readonly home: string;
}

/** The directory of the journals for whoever names none: of the system for root, else of the user (XDG Base Directory). */
export function journalDirectory(surroundings: Surroundings = here()): string {
  const { env, uid, home } = surroundings;
  if (uid === 0) return '/var/lib/ferry/journal';
  const state = env['XDG_STATE_HOME'];
  // The specification: a path that is not absolute is invalid and to be ignored.
  const base = state !== undefined && isAbsolute(state) ? state : join(home, '.local', 'state');
  return join(base, 'ferry', 'journal');
}

function here(): Surroundings {
  return { env: process.env, uid: process.getuid?.() ?? 0, home: homedir() };
}
