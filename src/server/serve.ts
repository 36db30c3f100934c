import type { BindableDevice, LogLevel, LogSink } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import { loadNative, type Native } from '../native/index.ts';
import { type Capabilities, CONTROL_SUFFIX } from '../protocol/index.ts';
import {
  type Closeable,
  EventLoopReactor,
  type Listener,
  listen,
  type Reactor,
  type SpinOptions,
} from '../transport/index.ts';
import { DeviceServer } from './device-server.ts';
import type { OnReconnect } from './reconnection.ts';
import type { Role } from './served-connection.ts';
import { ServerError } from './server-error.ts';
import type { V1Options } from './v1/v1-options.ts';

/** Where and how a device is served. Exactly one of `socketPath` and `fd`. */
export interface ServeOptions extends SpinOptions {
  /** Main socket: a VMM connects here. */
  readonly socketPath?: string;
  /** Main socket, connected already and inherited from whoever started us. Ours from now on. */
  readonly fd?: number;
  /** Control socket; by default the socket path with `.control` appended; null: none. */
  readonly controlPath?: string | null;
  /** File mode of the main socket, less the umask; 0600 by default. The control socket's is 0600 always. */
  readonly socketMode?: number;
  /** How long a command that wants a reply may wait while the device is held, in milliseconds; 4000 by default. */
  readonly holdLimitMs?: number;
  /** How long one change of the migration state may take, in milliseconds; 10000 by default. */
  readonly transitionTimeoutMs?: number;
  /** What becomes of the state when the VMM comes back (docs/ownership.md); `reset` by default. */
  readonly onReconnect?: OnReconnect;
  /** Offer the device through a v1 migration region instead of by v2. Null, the default: v2. */
  readonly v1?: V1Options | null;
  /** What is offered in VERSION. */
  readonly capabilities?: Capabilities;
  /** Takes errors that no client can be told. */
  readonly report?: (error: FerryError) => void;
  /** Takes lines of the log: of the server, of the device's author, and those errors. Default: nobody. */
  readonly log?: LogSink;
  /** How much is logged, if anybody takes it; `info` by default, null: nothing. `debug` tells every command. */
  readonly logLevel?: LogLevel | null;
  /** For tests, and for threads of their own. */
  readonly native?: Native;
  readonly reactor?: Reactor;
}

/** A device that is being served. */
export interface RunningServer extends Closeable {
  readonly socketPath: string | null;
  readonly controlPath: string | null;
  readonly server: DeviceServer;
  /** The sockets that it listens on, and for whom. */
  readonly listeners: readonly ServedListener[];
}

/** A socket that is listened on, and the role of those who connect. */
export interface ServedListener {
  readonly role: Role;
  readonly listener: Listener;
}

const OWNER_ONLY = 0o600;

/**
 * Serves a device until `close`: listens on the main and on the control socket.
 * @throws TransportError when a path is in use or can't be used; DeviceError when a declaration is wrong
 */
export function serveDevice(device: BindableDevice, options: ServeOptions): RunningServer {
  const { socketPath = null, fd } = options;
  if ((socketPath === null) === (fd === undefined)) {
    throw new ServerError(
      'ERR_BAD_RANGE',
      'a device is served on a socket path or on an fd: give exactly one',
    );
  }
  const native = options.native ?? loadNative();
  const reactor = options.reactor ?? new EventLoopReactor(native, options);
  const controlPath = controlPathOf(options);
  const listeners: ServedListener[] = [];
  const server = new DeviceServer(device, { ...options, native, reactor });
  const close = (): void => {
    for (const { listener } of listeners) listener.close();
    server.close();
  };
  try {
    const open = (path: string, mode: number, role: Role): void => {
      const accepted = (connected: number): void => acceptOrReport(server, connected, role);
      listeners.push({ role, listener: listen({ native, reactor, path, mode, accepted }) });
    };
    if (socketPath !== null) open(socketPath, options.socketMode ?? OWNER_ONLY, 'main');
    if (controlPath !== null) open(controlPath, OWNER_ONLY, 'control');
    if (fd !== undefined) server.accept(fd, 'main');
  } catch (error) {
    close();
    throw error;
  }
  return { socketPath, controlPath, server, listeners, close };
}

/** Nobody is there to whom a listener could throw; the one who connected sees that the connection ends. */
export function acceptOrReport(server: DeviceServer, fd: number, role: Role): void {
  try {
    server.accept(fd, role);
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    server.report(error);
  }
}

function controlPathOf({ controlPath, socketPath }: ServeOptions): string | null {
  if (controlPath !== undefined) return controlPath;
  return socketPath === undefined ? null : socketPath + CONTROL_SUFFIX;
}
