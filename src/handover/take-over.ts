import type { BindableDevice } from '../device/index.ts';
import type { FerryError } from '../errors/index.ts';
import { loadNative } from '../native/index.ts';
import { DeviceServer, type RunningServer, type ServeOptions } from '../server/index.ts';
import { EventLoopReactor } from '../transport/index.ts';
import { fdRoom } from './fd-room.ts';
import { knock } from './knock.ts';
import type { Pause } from './pause.ts';
import { practise } from './practice.ts';
import { rehearse } from './rehearsal.ts';
import { Taker } from './taker.ts';
import type { Takeover } from './taker-parts.ts';

/** How a device is taken over. What is said of sockets comes from the process that has it. */
export interface TakeOverOptions
  extends Omit<ServeOptions, 'socketPath' | 'controlPath' | 'fd' | 'socketMode' | 'v1' | 'onReconnect'> {
  /** The control socket of the server that has the device. */
  readonly controlPath: string;
  /** How long to wait for its answers while nothing is stopped, in milliseconds; 10000 by default. */
  readonly answerMs?: number;
}

/** A device that was taken over. */
export interface TakenServer extends RunningServer {
  /** The process that had it before; it has ended or is about to. */
  readonly predecessor: number;
  /** How long nobody served its clients, in milliseconds. */
  readonly pauseMs: number;
  /** The same, and with what it was spent. */
  readonly pause: Pause;
}

/**
 * Goes on with the device that another process of this host serves: its clients stay connected and notice nothing but a
 * pause. `device` is made anew, by the same or a newer version of its code; everything slow has to be done before this is
 * called. When this rejects, the device goes on where it was (docs/live-upgrade.md).
 * @throws HandoverError why it was not taken over; TransportError when nobody listens; DeviceError for a wrong declaration
 */
export async function takeOver(device: BindableDevice, options: TakeOverOptions): Promise<TakenServer> {
  const native = options.native ?? loadNative();
  const reactor = options.reactor ?? new EventLoopReactor(native, options);
  const { controlPath, answerMs = 10_000 } = options;
  const server = new DeviceServer(device, { ...options, native, reactor });
  try {
    await rehearse(native, reactor);
    await practise(server);
    const door = await knock(native, reactor, controlPath, answerMs);
    const report = (error: FerryError): void => server.report(error);
    const taken = await new Promise<Takeover>((resolve, reject) => {
      new Taker({ server, fd: door.fd, answerMs, fdRoom, report }, { resolve, reject });
    }).finally(() => door.close());
    return asRunning(server, taken);
  } catch (error) {
    server.succession.abandon();
    throw error;
  }
}

/** A server that has landed, for whoever runs it. */
export function asRunning(server: DeviceServer, { listeners, pid, pause }: Takeover): TakenServer {
  const pathOf = (wanted: 'main' | 'control'): string | null =>
    listeners.find(({ role }) => role === wanted)?.listener.path ?? null;
  return {
    ...{
      server,
      listeners,
      predecessor: pid,
      pause,
      pauseMs: pause.totalMs,
      socketPath: pathOf('main'),
      controlPath: pathOf('control'),
    },
    close: () => {
      for (const { listener } of listeners) listener.close();
      server.close();
    },
  };
}
