/**
 * Unpacks what the guest tests need beside the system: a QEMU that has vfio-user-pci, and Linux in two flavours, from
 * Debian's packages. Nothing is installed and nothing of it runs as part of the system; removing the folder removes
 * all. The archive is the one that this machine's own apt uses.
 *
 * The folder is $FERRY_GUEST_TREE, or ferry-guest in the user's cache. Its path is printed at the end.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** The oldest release whose backports have QEMU 10.1 or newer. */
const SUITE = 'trixie';
const PACKAGES = ['qemu-system-x86', 'linux-image-amd64', 'linux-image-cloud-amd64'];
/** Raised when the tree must have something else in it. */
const VERSION = '1';
/** What no guest needs. */
const WASTE = ['dev', 'usr/share/doc', 'usr/share/man', 'usr/share/locale', 'var/cache', 'var/lib/apt'];

const cache = process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache');
const tree = process.env['FERRY_GUEST_TREE'] ?? path.join(cache, 'ferry-guest');

/** @param {string} file @returns {string} */
function contentOf(file) {
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

/** @param {string} folder */
function unpack(folder) {
  const uri = archive();
  const mode = process.getuid?.() === 0 ? 'root' : 'auto';
  const args = ['--quiet', '--variant=extract', `--mode=${mode}`, `--include=${PACKAGES.join(',')}`];
  const sources = [SUITE, `${SUITE}-backports`].map((suite) => `deb ${uri} ${suite} main`);
  const { status, error } = spawnSync('mmdebstrap', [...args, ...aptOptions(), SUITE, folder, ...sources], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (error !== undefined) throw new Error(`mmdebstrap: ${error.message} (it is in the package mmdebstrap)`);
  if (status !== 0) throw new Error(`mmdebstrap ended with status ${status}`);
}

function fetchGuest() {
  const stamp = path.join(tree, 'ferry-guest-version');
  if (contentOf(stamp) === VERSION && !process.argv.includes('--again')) return;
  const partial = `${tree}.${process.pid}`;
  mkdirSync(path.dirname(tree), { recursive: true });
  try {
    unpack(partial);
    for (const waste of WASTE) rmSync(path.join(partial, waste), { recursive: true, force: true });
    writeFileSync(path.join(partial, path.basename(stamp)), VERSION);
    rmSync(tree, { recursive: true, force: true });
    renameSync(partial, tree);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

try {
  fetchGuest();
  console.log(tree);
} catch (error) {
  console.error(`fetch-guest: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
