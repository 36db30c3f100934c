import type { BindableDevice } from '../../device/index.ts';
import { loadNative, type Native } from '../../native/index.ts';
import {
  acceptOrReport,
  DeviceServer,
  type RunningServer,
  type ServedListener,
  type ServeOptions,
} from '../../server/index.ts';
import { EventLoopReactor, listen, listenOn, type Reactor } from '../../transport/index.ts';
import { inheritedSocket } from './inherited-socket.ts';

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

/** Serves a device on a socket that whoever started us has opened: one that listens, or one that is connected. */
export function serveInherited(device: BindableDevice, options: InheritedOptions): RunningServer {
  const native = loadNative();
  const { fd, controlPath } = options;
  const kind = inheritedSocket(native, fd);
  const reactor = new EventLoopReactor(native, options);
  const server = new DeviceServer(device, { ...options, native, reactor });
  const place = { native, reactor, server };
  const listeners: ServedListener[] = [];
  const close = (): void => {
    for (const { listener } of listeners) listener.close();
    server.close();
  };
  try {
    if (controlPath !== null) listeners.push(listenForControl(place, controlPath));
    if (kind === 'listening') listeners.push(acceptOn(place, fd));
    else server.accept(fd, 'main');
  } catch (error) {
    close();
    throw error;
  }
  return { socketPath: null, controlPath, server, listeners, close };
}

function listenForControl({ native, reactor, server }: Place, path: string): ServedListener {
  const accepted = (fd: number): void => acceptOrReport(server, fd, 'control');
  return { role: 'control', listener: listen({ native, reactor, path, mode: OWNER_ONLY, accepted }) };
}

function acceptOn({ native, reactor, server }: Place, fd: number): ServedListener {
  const accepted = (connected: number): void => acceptOrReport(server, connected, 'main');
  const listener = listenOn({ native, reactor, fd, path: null, accepted, blocking: true });
  return { role: 'main', listener };
}
