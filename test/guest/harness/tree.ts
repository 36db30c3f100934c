import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where scripts/fetch-guest.js unpacks QEMU and Linux. */
export const GUEST_TREE =
  process.env['FERRY_GUEST_TREE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'ferry-guest');

/** What to do when something of it is missing. */
export const FETCH_ADVICE = 'run `node scripts/fetch-guest.js`';
