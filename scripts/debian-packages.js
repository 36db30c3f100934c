/**
 * Unpacks Debian packages beside the system, from the archive that this machine's own apt uses. Nothing is installed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** The oldest release whose backports have QEMU 10.1 or newer. */
export const SUITE = 'trixie';

/** What nobody who runs something of a tree needs. */
const WASTE = ['dev', 'usr/share/doc', 'usr/share/man', 'usr/share/locale', 'var/cache', 'var/lib/apt'];

/** @param {string} name @returns {string} a folder in the user's cache */
export function cacheFolder(name) {
  return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), name);
}

/** @param {string} file @returns {string} */
export function contentOf(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** @param {string} command @param {string[]} args @returns {string} */
function ask(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${command}: ${error?.message ?? stderr.trim()}`);
}

/** @returns {string} where this machine gets Debian's packages from */
function archive() {
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(contentOf('/etc/os-release'))?.[1] ?? SUITE;
  const targets = ask('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE) $(COMPONENT)',
    'Created-By: Packages',
  ])
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  const found = targets.find(([, release, component]) => release === codename && component === 'main');
  if (found?.[0] === undefined) throw new Error(`apt knows no archive for ${codename} main`);
  return found[0];
}

/** @returns {string[]} how this machine's apt reaches its archive: proxies, retries, dates */
function aptOptions() {
  const wanted = /^Acquire::(?:https?::|Retries|Check-)\S* ".+";$/;
  const lines = ask('apt-config', ['dump', 'Acquire']).split('\n');
  const pinned = ['APT::Install-Recommends "false"', `APT::Default-Release "${SUITE}-backports"`];
  return [...lines.filter((line) => wanted.test(line)), ...pinned].map((line) => `--aptopt=${line}`);
}

/** @param {string} folder @param {string[]} packages @param {string[]} hooks shell commands for when it is unpacked */
function unpack(folder, packages, hooks) {
  const uri = archive();
  const mode = process.getuid?.() === 0 ? 'root' : 'auto';
  const args = ['--quiet', '--variant=extract', `--mode=${mode}`, `--include=${packages.join(',')}`];
  const after = hooks.map((hook) => `--extract-hook=${hook}`);
  const sources = [SUITE, `${SUITE}-backports`].map((suite) => `deb ${uri} ${suite} main`);
  const { status, error } = spawnSync(
    'mmdebstrap',
    [...args, ...after, ...aptOptions(), SUITE, folder, ...sources],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  if (error !== undefined) throw new Error(`mmdebstrap: ${error.message} (it is in the package mmdebstrap)`);
  if (status !== 0) throw new Error(`mmdebstrap ended with status ${status}`);
}

/**
 * What is to be in a tree: `version` is raised when that changes; `hooks` are shell commands that are run when the
 * packages are unpacked, with the folder as $1.
 *
 * @typedef {{ packages: string[], version: string, hooks?: string[], waste?: string[] }} Content
 */

/**
 * Makes the tree unless it is there; `--again` on the command line makes it anew.
 *
 * @param {string} tree
 * @param {Content} content
 */
export function makeTree(tree, { packages, version, hooks = [], waste = [] }) {
  const stamp = path.join(tree, `${path.basename(tree)}-version`);
  if (contentOf(stamp) === version && !process.argv.includes('--again')) return;
  const partial = `${tree}.${process.pid}`;
  mkdirSync(path.dirname(tree), { recursive: true });
  try {
    unpack(partial, packages, hooks);
    for (const each of [...WASTE, ...waste])
      rmSync(path.join(partial, each), { recursive: true, force: true });
    writeFileSync(path.join(partial, path.basename(stamp)), version);
    rmSync(tree, { recursive: true, force: true });
    renameSync(partial, tree);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/**
 * The main function of a script that makes one tree: prints its path, or why there is none.
 *
 * @param {string} script
 * @param {string} tree
 * @param {Content} content
 */
export function fetchTree(script, tree, content) {
  try {
    makeTree(tree, content);
    console.log(tree);
  } catch (error) {
    console.error(`${script}: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
