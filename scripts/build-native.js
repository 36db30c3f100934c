/**
 * Compiles native/*.c into prebuilds/linux-<arch>[-musl]/ferry.node, unless that is newer than its sources.
 * It needs a C compiler ($CC, or cc) and the headers of Node-API, nothing else.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = path.join(root, 'native');

/** Node-API is stable by version: what is built against 8 loads in every later Node. */
const flags = [
  ['-std=c11', '-O2', '-fPIC', '-shared', '-pthread', '-fvisibility=hidden'],
  ['-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE', '-D_FILE_OFFSET_BITS=64', '-DNAPI_VERSION=8'],
  // A worker's end unloads its addons, but the SIGBUS handler must stay where it is.
  ['-Wl,-z,nodelete', '-Wl,-z,relro', '-Wl,-z,now'],
].flat();

/** @returns {string | undefined} the folder of node_api.h: the package's, else the one next to Node itself */
function headers() {
  const candidates = [
    path.join(root, 'node_modules/node-api-headers/include'),
    path.resolve(process.execPath, '../../include/node'),
  ];
  return candidates.find((folder) => existsSync(path.join(folder, 'node_api.h')));
}

/** @param {string[]} compiler @returns {string | undefined} such as x86_64-linux-gnu; undefined without a compiler */
function machineOf([command, ...args]) {
  const answer = spawnSync(command, [...args, '-dumpmachine'], { encoding: 'utf8' });
  return answer.status === 0 ? answer.stdout.trim() : undefined;
}

/** @param {string} file @returns {number} */
function modified(file) {
  return existsSync(file) ? statSync(file).mtimeMs : 0;
}

/** @param {string} binary @returns {boolean} */
function isCurrent(binary) {
  const inputs = readdirSync(sources).map((name) => path.join(sources, name));
  return modified(binary) > Math.max(...[...inputs, fileURLToPath(import.meta.url)].map(modified));
}

/**
 * @param {string[]} compiler
 * @param {string} include
 * @param {string} binary
 * @returns {number} the exit status
 */
function compile([command, ...args], include, binary) {
  const files = readdirSync(sources)
    .filter((name) => name.endsWith('.c'))
    .map((name) => path.join(sources, name));
  // Compiled aside and renamed: a process that has the old binary mapped keeps it.
  const fresh = `${binary}.${process.pid}`;
  mkdirSync(path.dirname(binary), { recursive: true });
  const result = spawnSync(command, [...args, ...flags, '-isystem', include, '-o', fresh, ...files], {
    stdio: 'inherit',
  });
  if (result.status === 0) renameSync(fresh, binary);
  else rmSync(fresh, { force: true });
  return result.status ?? 1;
}

/**
 * Builds the addon if it must. Without a compiler or headers that is an error only where a build can be expected:
 * with the development dependencies installed and no binary there.
 *
 * @returns {number} the exit status
 */
export function buildNative() {
  const compiler = (process.env.CC ?? 'cc').split(' ');
  const machine = machineOf(compiler);
  const suffix = machine?.includes('musl') ? '-musl' : '';
  const binary = path.join(root, 'prebuilds', `linux-${process.arch}${suffix}`, 'ferry.node');
  const include = headers();
  if (machine !== undefined && isCurrent(binary)) return 0;
  if (machine !== undefined && include !== undefined) return compile(compiler, include, binary);
  const lack = machine === undefined ? `no C compiler (${compiler[0]})` : 'no node_api.h';
  const optional = existsSync(binary) || !existsSync(path.join(root, 'node_modules/node-api-headers'));
  console.error(`native addon not built: ${lack}${existsSync(binary) ? '; the present binary stays' : ''}`);
  return optional ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = buildNative();
