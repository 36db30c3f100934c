/**
 * Compiles the bench's C programs into a cache directory, again only when a source, a header or the command changed.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sources = fileURLToPath(new URL('.', import.meta.url));
const cache = fileURLToPath(new URL('../../node_modules/.cache/ferry-bench', import.meta.url));
const programs = /** @type {const} */ (['minimal-server', 'client', 'copy', 'nvme', 'relay']);
const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror'];

/** @param {string} compiler @param {string} program */
function fingerprint(compiler, program) {
  const hash = createHash('sha256').update([compiler, ...flags].join('\0'));
  const headers = readdirSync(sources).filter((name) => name.endsWith('.h'));
  for (const name of [`${program}.c`, ...headers.sort()])
    hash.update(name).update(readFileSync(join(sources, name)));
  return hash.digest('hex').slice(0, 12);
}

/**
 * Builds what is missing and returns the path of each program.
 * The compiler is `$CC`, else `cc`. Throws with the compiler's output when it refuses a source.
 *
 * @returns {Record<(typeof programs)[number], string>}
 */
export function buildPeers() {
  const compiler = process.env.CC ?? 'cc';
  mkdirSync(cache, { recursive: true });
  const paths = programs.map((program) => {
    const binary = join(cache, `${program}-${fingerprint(compiler, program)}`);
    if (!existsSync(binary)) {
      const unfinished = `${binary}.${process.pid}`;
      execFileSync(compiler, [...flags, join(sources, `${program}.c`), '-o', unfinished], { stdio: 'pipe' });
      renameSync(unfinished, binary);
    }
    return [program, binary];
  });
  return Object.fromEntries(paths);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(buildPeers(), null, 2));
