import { findControlSocket } from '../../client/index.ts';
import type { LogEntry } from '../../device/index.ts';
import {
  type HandoverLimits,
  offerHandover,
  type Pause,
  restoreDevice,
  type TakenServer,
  takeOver,
} from '../../handover/index.ts';
import { type RunningServer, serveDedicated, serveDevice } from '../../server/index.ts';
import { printable, printError } from '../output/terminal.ts';
import { type AttendedDevice, attendedDevice } from './attended-device.ts';
import type { DeviceSpec } from './device-spec.ts';
import { type FdStore, leaveDevice, openFdStore, withFdStore } from './fd-store.ts';
import { v1OptionsOf } from './migration-options.ts';
import { serveInherited } from './serve-inherited.ts';
import { controlPathOf, type ServeCommandOptions } from './serve-options.ts';
import { untilAlone } from './until-alone.ts';

/** What runs until a signal comes. */
export interface Service {
  /** Settles when there is nobody left to serve, here at least. */
  readonly ended: Promise<void>;
  readonly socket: string;
  readonly controlPath: string | null;
  /** The process from which the device was taken over, and for how long nobody served its clients. */
  readonly predecessor?: number | undefined;
  readonly pause?: Pause | undefined;
  /** Where the other end of the device is, if the system has chosen that. */
  readonly line?: string | undefined;
  /** Leaves the device to the next process, which a service manager starts; false when it goes on here. */
  readonly leave?: () => Promise<boolean>;
  close(): void | Promise<void>;
}

/** Makes the device and serves it. Rejects with what keeps it from that. */
export async function startService(spec: DeviceSpec, options: ServeCommandOptions): Promise<Service> {
  const { holdLimit, spin, onReconnect } = options;
  const common = {
    controlPath: controlPathOf(options),
    v1: v1OptionsOf(options),
    ...(holdLimit === undefined ? {} : { holdLimitMs: holdLimit }),
    ...(onReconnect === undefined ? {} : { onReconnect }),
    ...(spin === false ? { spinMicroseconds: 0 } : {}),
    log: printEntry,
    logLevel: options.logLevel ?? 'error',
  };
  const store = openFdStore(options, process.env);
  if (options.dedicated === true) return startDedicated(spec, options, common);
  return withFdStore(store, () => startAttended(spec, { options, common, store }));
}

interface StartParts {
  readonly options: ServeCommandOptions;
  readonly common: Parameters<typeof serveDevice>[1] & { readonly controlPath: string | null };
  readonly store: FdStore | null;
}

async function startAttended(spec: DeviceSpec, parts: StartParts): Promise<Service> {
  const { options, store } = parts;
  const takesOver = options.takeOver !== undefined || (store !== null && store.stored !== null);
  const attended = await attendedDevice(spec, takesOver);
  try {
    return serviceOf(await startHere(attended.device, parts), attended, parts);
  } catch (error) {
    await (attended.abandon ?? attended.close)();
    throw error;
  }
}

async function startHere(
  device: AttendedDevice['device'],
  { options: { takeOver: from, socketPath, fd }, common, store }: StartParts,
): Promise<RunningServer | TakenServer> {
  if (store !== null && store.stored !== null) return restoreDevice(device, store.stored, common);
  if (from !== undefined) return takeOver(device, { ...common, controlPath: findControlSocket(from) });
  if (fd !== undefined) return serveInherited(device, { ...common, fd });
  return serveDevice(device, { ...common, ...(socketPath === undefined ? {} : { socketPath }) });
}

/** A device that runs here, until nobody can want it any more or another process has taken it over. */
function serviceOf(
  running: RunningServer | TakenServer,
  attended: AttendedDevice,
  { options: { fd, pauseLimit }, store }: StartParts,
): Service {
  let elsewhere = false;
  const limits: HandoverLimits = pauseLimit === undefined ? {} : { frozenMs: pauseLimit };
  const obstacle = attended.stays ?? null;
  const { handedOver } = offerHandover(running, { obstacle, ...limits });
  const gone = handedOver.then(() => {
    elsewhere = true;
  });
  return {
    ended: Promise.race([gone, untilAlone(running)]),
    socket: running.socketPath ?? (fd === undefined ? 'an inherited socket' : `fd ${fd}`),
    controlPath: running.controlPath,
    line: attended.line,
    ...('predecessor' in running ? { predecessor: running.predecessor, pause: running.pause } : {}),
    ...(store === null
      ? {}
      : {
          leave: async () => {
            elsewhere ||= await leaveDevice(running, { ...store, obstacle, ...limits });
            return elsewhere;
          },
        }),
    close: async () => {
      if (elsewhere) return (attended.abandon ?? attended.close)();
      running.close();
      await attended.close();
    },
  };
}

function printEntry({ level, message }: LogEntry): void {
  printError(printable(level === 'error' ? `ferry: ${message}` : `ferry: ${level}: ${message}`));
}

async function startDedicated(
  spec: DeviceSpec,
  { socketPath, fd }: ServeCommandOptions,
  common: Omit<Parameters<typeof serveDedicated>[0], 'factory'>,
): Promise<Service> {
  const running = await serveDedicated({
    ...common,
    ...(socketPath === undefined ? {} : { socketPath }),
    ...(fd === undefined ? {} : { fd }),
    factory: new URL('./device-factory.js', import.meta.url).href,
    factoryOptions: spec,
  });
  const socket = socketPath ?? `fd ${fd}`;
  const { controlPath } = running;
  return { ended: FOREVER, socket, controlPath, close: () => running.close() };
}

const FOREVER = new Promise<void>(() => {});
