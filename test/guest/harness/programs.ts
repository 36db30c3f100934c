import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

const SOURCES = resolve(import.meta.dirname, '../programs');
const FLAGS = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-static'];

/** Compiles the programs that run in guests; returns their names and files. */
export function compilePrograms(folder: string): ReadonlyMap<string, string> {
  const sources = readdirSync(SOURCES).filter((file) => file.endsWith('.c'));
  return new Map(
    sources.map((source) => {
      const name = basename(source, '.c');
      const binary = join(folder, name);
      execFileSync(compiler(), [...FLAGS, '-o', binary, join(SOURCES, source)], { stdio: 'pipe' });
      return [name, binary];
    }),
  );
}

/** Why nothing can be compiled or packed; null when everything is there. */
export function missingTool(): string | null {
  const tools = { [compiler()]: '--version', xz: '--version', busybox: '--help' };
  for (const [tool, argument] of Object.entries(tools)) {
    if (spawnSync(tool, [argument]).status !== 0) return `there is no ${tool}`;
  }
  return null;
}

/** The busybox of this machine; statically linked, or it does not start in a guest. */
export function busyboxPath(): string {
  return execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
}

function compiler(): string {
  return process.env['CC'] ?? 'cc';
}
