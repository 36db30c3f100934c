/**
 * Fuzzes one end of the protocol for as long as is wanted, outside of the test runner, and can say what of the code was
 * run: `npm run fuzz -- <all, or one of SUBJECTS> 10000000 [seed] [--coverage]`. The short form is in the tests.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { coverageOf, table } from './coverage.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');
/** What both ends of the protocol are made of. */
const ROOMS = ['protocol', 'transport', 'server', 'client'];

/** What `all` tries, one after the other. */
const SUBJECTS = ['server', 'server-v1', 'client-blocking', 'client-promising', 'client-event-loop'];

/** Compiles src/ and test/ to a folder. @param {string} folder */
function compile(folder) {
  const project = join(folder, 'tsconfig.json');
  const compilerOptions = { noEmit: false, noCheck: true, rootDir: root, outDir: folder, types: [] };
  const files = [join(root, 'test/fuzz/main.ts')];
  writeFileSync(
    project,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: [], files }),
  );
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  for (const name of ['prebuilds', 'node_modules']) symlinkSync(join(root, name), join(folder, name));
  return spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' }).status ?? 1;
}

const words = process.argv.slice(2).filter((word) => word !== '--coverage');
const coverage = process.argv.includes('--coverage');
const [subject = '', ...counts] = words;
const folder = mkdtempSync(join(tmpdir(), 'ferry-fuzz-'));
const raw = join(folder, 'coverage');

/** @param {string} name */
function run(name) {
  const env = coverage ? { ...process.env, NODE_V8_COVERAGE: raw } : process.env;
  const program = [join(folder, 'test/fuzz/main.js'), name, ...counts];
  return spawnSync(process.execPath, program, { stdio: 'inherit', env }).status ?? 1;
}

try {
  process.exitCode = compile(folder);
  for (const name of subject === 'all' ? SUBJECTS : [subject]) process.exitCode ||= run(name);
  if (coverage && process.exitCode === 0) console.log(table(coverageOf(raw, join(folder, 'src')), ROOMS));
} finally {
  rmSync(folder, { recursive: true });
}
