import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Tests put sockets some folders below, and a socket's path has 107 bytes (unix(7)). */
const LONGEST = 40;

/**
 * Gives this run of the tests a temporary folder of its own, which its processes inherit: what two runs on a host put
 * there is kept apart, all goes when the run ends, and what a killed run leaves is in one folder with a name.
 */
export function makeRunFolder(): void {
  const usual = tmpdir();
  const folder = mkdtempSync(join(usual.length > LONGEST ? '/tmp' : usual, 'ferry-run-'));
  process.env['TMPDIR'] = folder;
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
}
