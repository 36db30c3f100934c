import type { BindableDevice } from '../device/index.ts';
import { loadNative, type Native } from '../native/index.ts';
import { DeviceServer, type ServeOptions } from '../server/index.ts';
import { type Closeable, EventLoopReactor, listen, type Reactor } from '../transport/index.ts';
import { inheritedSocket } from './inherited-socket.ts';

/** A device that is served on an inherited socket. */
export interface InheritedServer extends Closeable {
  /** Settles when the only client that there will ever be has gone. */
  readonly ended: Promise<void>;
}

/** What {@link serveInherited} is told. */
export type InheritedOptions = Omit<ServeOptions, 'socketPath' | 'fd' | 'native' | 'reactor'> & {
  readonly fd: number;
  readonly controlPath: string | null;
};

interface Place {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly server: DeviceServer;
}

const OWNER_ONLY = 0o600;
/** How often to look whether the only client has gone, in milliseconds. */
const LOOK_MS = 100;

/** Serves a device on a socket that whoever started us has opened: one that listens, or one that is connected. */
export function serveInherited(device: BindableDevice, options: InheritedOptions): InheritedServer {
  const native = loadNative();
  const kind = inheritedSocket(native, options.fd);
  const reactor = new EventLoopReactor(native, options);
  const place = { native, reactor, server: new DeviceServer(device, { ...options, native, reactor }) };
  const parts: Closeable[] = [place.server];
  try {
    if (options.controlPath !== null) parts.unshift(listenForControl(place, options.controlPath));
    const forever = kind === 'listening' || options.controlPath !== null;
    const main = kind === 'listening' ? acceptOn(place, options.fd) : serveOne(place, options.fd);
    parts.unshift(main);
    return { ended: forever ? new Promise(() => {}) : main.ended, close: () => closeAll(parts) };
  } catch (error) {
    closeAll(parts);
    throw error;
  }
}

function listenForControl({ native, reactor, server }: Place, path: string): Closeable {
  const accepted = (fd: number): void => void server.accept(fd, 'control');
  return listen({ native, reactor, path, mode: OWNER_ONLY, accepted });
}

/** One accept for each wake-up: an inherited listener may be a blocking one. */
function acceptOn({ native, reactor, server }: Place, listener: number): InheritedServer {
  const watch = reactor.watch(listener, () => {
    const fd = native.accept(listener);
    if (fd >= 0) server.accept(fd, 'main');
  });
  return { ended: new Promise(() => {}), close: () => watch.close() };
}

function serveOne({ reactor, server }: Place, fd: number): InheritedServer {
  const served = server.accept(fd, 'main');
  let look: Closeable = { close() {} };
  const ended = new Promise<void>((resolve) => {
    look = reactor.every(LOOK_MS, () => {
      if (served.connection.closedBecause !== null) resolve();
    });
  });
  return { ended, close: () => look.close() };
}

function closeAll(parts: readonly Closeable[]): void {
  for (const part of parts) part.close();
}
