import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Errno } from '../errors/index.ts';
import type { Native } from './native.ts';
import { NativeError } from './native-error.ts';

/** Every function of the interface, to tell a binary that is older than the code from a good one. */
const functions: Readonly<Record<keyof Native, true>> = {
  listen: true,
  connect: true,
  connectDatagram: true,
  accept: true,
  socketpair: true,
  setSendBuffer: true,
  setBlocking: true,
  shutdown: true,
  shutdownHalf: true,
  receive: true,
  send: true,
  poll: true,
  exchange: true,
  pumpStart: true,
  pumpArm: true,
  pumpClose: true,
  watchStart: true,
  watchClose: true,
  setReferenced: true,
  memfd: true,
  sealShrink: true,
  map: true,
  unmap: true,
  guardMappings: true,
  guardedFaults: true,
  pread: true,
  pwrite: true,
  ioctl: true,
  ioctlLater: true,
  readLater: true,
  writeLater: true,
  mapForDma: true,
  unmapForDma: true,
  crc32: true,
  crc32Copy: true,
  keepHeap: true,
  eventfd: true,
  eventfdSignal: true,
  eventfdRead: true,
  close: true,
  dup: true,
  flock: true,
  pseudoTerminal: true,
  peerCredentials: true,
};

const advice = 'build it with `npm run build` (needs a C compiler), or name a binary in FERRY_NATIVE';

let loaded: Native | null = null;

/**
 * The addon, loaded once per thread: the binary that the environment variable FERRY_NATIVE names, else the one in
 * prebuilds/ for this machine.
 *
 * @throws NativeError when there is none, or none that this runtime can load
 */
export function loadNative(): Native {
  loaded ??= loadFirst(candidates());
  return loaded;
}

/** The C library can't be asked for cheaply: the binary for the wrong one fails to load, and the other is tried. */
function candidates(): readonly string[] {
  const { FERRY_NATIVE: named } = process.env;
  if (named !== undefined && named !== '') return [named];
  // src/native/ and dist/native/ are equally deep.
  return ['', '-musl']
    .map((libc) => new URL(`../../prebuilds/linux-${process.arch}${libc}/ferry.node`, import.meta.url))
    .map((url) => fileURLToPath(url))
    .filter((path) => existsSync(path));
}

function loadFirst(paths: readonly string[]): Native {
  const require = createRequire(import.meta.url);
  let reason = `no binary for ${process.platform}-${process.arch}`;
  for (const path of paths) {
    try {
      const addon: unknown = require(path);
      if (isNative(addon)) return addon;
      reason = `${path} does not fit this version`;
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  throw new NativeError('loadNative', Errno.ENOENT, {}, `${reason}; ${advice}`);
}

function isNative(addon: unknown): addon is Native {
  if (typeof addon !== 'object' || addon === null) return false;
  const members = new Map<string, unknown>(Object.entries(addon));
  return Object.keys(functions).every((name) => typeof members.get(name) === 'function');
}
