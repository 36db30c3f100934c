import { lstatSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { Errno, errnoName } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { Closeable, Reactor } from './reactor.ts';
import { TransportError } from './transport-error.ts';

/** sun_path of unix(7) holds 108 bytes, the last one NUL. */
export const MAX_SOCKET_PATH = 107;

/** Connections that the kernel queues before it refuses more. */
const BACKLOG = 16;

/** How long nobody is accepted after that has failed, in milliseconds. */
const ACCEPT_PAUSE_MS = 100;

/** How a listening socket is set up. */
export interface ListenOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly path: string;
  /** File mode of the socket, such as 0o600. */
  readonly mode: number;
  /** Called with each accepted fd, which is the callee's from then on. */
  readonly accepted: (fd: number) => void;
}

/** A socket that listens. */
export interface Listener extends Closeable {
  readonly fd: number;
  /** Its file; null for one that whoever started us has opened, and whose file is theirs. */
  readonly path: string | null;
  /** Nobody is accepted until {@link resume}: who connects waits. */
  pause(): void;
  resume(): void;
  /** Lets go of the socket, which another process goes on with: its file stays. Idempotent, also with close. */
  release(): void;
}

/**
 * Listens on a UNIX socket. A socket file that a crashed server left behind is replaced; one that a living server
 * listens on is not. Closing removes the file if it is still ours.
 * @throws TransportError ERR_SOCKET_IN_USE, ERR_SOCKET_PATH, ERR_SOCKET_LISTEN
 */
export function listen(options: ListenOptions): Listener {
  const fd = bind(options.native, options.path, options.mode);
  return listenOn({ ...options, fd });
}

/** How a socket that listens already is used. */
export type ListenOnOptions = Omit<ListenOptions, 'path' | 'mode'> & {
  /** The caller's no more. */
  readonly fd: number;
  /** Its file, if it is ours to remove. */
  readonly path: string | null;
  /** Nobody is accepted before {@link Listener.resume}. */
  readonly paused?: boolean;
  /** One accept for each wake-up: the socket may be a blocking one. */
  readonly blocking?: boolean;
};

/** Accepts from a socket that listens already. Closing removes the file if it is still ours. */
export function listenOn(options: ListenOnOptions): Listener {
  const { native, fd, path } = options;
  let acceptor: Closeable | null = null;
  // What never accepts anybody here is not ours to remove.
  let ino: ReturnType<typeof inodeOf>;
  const resume = (): void => {
    if (path !== null) ino ??= inodeOf(path);
    acceptor ??= acceptFrom(options, fd);
  };
  if (options.paused !== true) resume();
  let open = true;
  const stop = (): void => {
    acceptor?.close();
    acceptor = null;
  };
  const end = (removes: boolean): void => {
    if (!open) return;
    open = false;
    stop();
    // Before the fd is closed: until then the kernel gives the inode's number to no other file.
    if (removes && path !== null && ino !== undefined && inodeOf(path) === ino) rmSync(path, { force: true });
    native.close(fd);
  };
  return {
    ...{ fd, path, pause: stop },
    resume: () => {
      if (open) resume();
    },
    release: () => end(false),
    close: () => end(true),
  };
}

/**
 * Connects to a UNIX socket; returns the fd.
 * @throws TransportError ERR_SOCKET with the errno and what it means here
 */
export function connect(native: Native, path: string): number {
  checkPath(path);
  const fd = native.connect(path);
  if (fd >= 0) return fd;
  const errno = -fd;
  const hint = CONNECT_HINTS.get(errno) ?? '';
  throw new TransportError(
    'ERR_SOCKET',
    `cannot connect to ${path}: ${errnoName(errno)}${hint}`,
    { path },
    { errno },
  );
}

const CONNECT_HINTS = new Map<number, string>([
  [Errno.ENOENT, ' (no such socket: is the server running, is the path right?)'],
  [Errno.ECONNREFUSED, ' (nobody listens there: the server has gone and left its socket file behind)'],
  [Errno.EACCES, " (you may not write to the socket: check its owner and mode, and the folders' above it)"],
  [Errno.EAGAIN, ' (the server does not accept connections at the moment)'],
]);

const LISTEN_HINTS = new Map<number, string>([
  [Errno.ENOENT, ' (its folder does not exist)'],
  [Errno.ENOTDIR, ' (what should be its folder is a file)'],
  [Errno.EACCES, ' (you may not write to its folder)'],
]);

function bind(native: Native, path: string, mode: number): number {
  checkPath(path);
  let fd = native.listen(path, mode, BACKLOG);
  if (fd === -Errno.EADDRINUSE && removeStale(native, path)) fd = native.listen(path, mode, BACKLOG);
  if (fd >= 0) return fd;
  const errno = -fd;
  if (errno === Errno.EADDRINUSE) {
    throw new TransportError('ERR_SOCKET_IN_USE', `${path} is in use by another server`, { path });
  }
  const hint = LISTEN_HINTS.get(errno) ?? '';
  throw new TransportError(
    'ERR_SOCKET_LISTEN',
    `cannot listen on ${path}: ${errnoName(errno)}${hint}`,
    { path },
    { errno },
  );
}

function checkPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > 0 && length <= MAX_SOCKET_PATH && !path.includes('\0')) return;
  const message = `a socket path has 1 to ${MAX_SOCKET_PATH} bytes, this one ${length}: ${path}`;
  throw new TransportError('ERR_SOCKET_PATH', message, { path }, { errno: Errno.ENAMETOOLONG });
}

/** Removes a socket file on which nobody listens. Anything that is no socket is left alone. */
function removeStale(native: Native, path: string): boolean {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) {
    const message = `${path} exists and is not a socket`;
    throw new TransportError('ERR_SOCKET_IN_USE', message, { path });
  }
  const probe = native.connect(path);
  if (probe >= 0) native.close(probe);
  if (probe !== -Errno.ECONNREFUSED) return false;
  unlinkSync(path);
  return true;
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

/**
 * Accepts whoever connects. When that fails, for want of fds usually, it pauses: the listener stays readable, and the
 * loop would run hot.
 */
function acceptFrom(
  options: Pick<ListenOnOptions, 'native' | 'reactor' | 'accepted' | 'blocking'>,
  listener: number,
): Closeable {
  const { native, reactor } = options;
  let open = true;
  let current: Closeable = reactor.watch(listener, accept);
  function accept(): void {
    let fd = native.accept(listener);
    while (fd >= 0) {
      options.accepted(fd);
      if (!open || options.blocking === true) return;
      fd = native.accept(listener);
    }
    if (fd === -Errno.EAGAIN) return;
    current.close();
    current = reactor.after(ACCEPT_PAUSE_MS, () => {
      current = reactor.watch(listener, accept);
    });
  }
  return {
    close() {
      open = false;
      current.close();
    },
  };
}
