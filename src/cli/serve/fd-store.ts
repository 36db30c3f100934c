import {
  returnDevice,
  type StoredDevice,
  serviceReady,
  storeDevice,
  storedDevice,
} from '../../handover/index.ts';
import type { RunningServer } from '../../server/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { printError } from '../output/terminal.ts';
import type { ServeCommandOptions } from './serve-options.ts';

/** The service manager that keeps the device between two processes. */
export interface FdStore {
  readonly notifySocket: string;
  /** What the process before has left there; null for nothing. */
  readonly stored: StoredDevice | null;
}

/** What `--fd-store` has to do with; null without it. Takes what was left. Throws UsageError, HandoverError. */
export function openFdStore(
  { fdStore, dedicated, takeOver }: ServeCommandOptions,
  environment: Readonly<Record<string, string | undefined>>,
): FdStore | null {
  if (fdStore !== true) return null;
  if (dedicated === true) throw new UsageError('a server with --dedicated hands nothing over: no --fd-store');
  const { NOTIFY_SOCKET = '', FDSTORE } = environment;
  if (NOTIFY_SOCKET === '' || FDSTORE === '0')
    throw new UsageError(
      'nobody keeps descriptors for --fd-store: run it as a service with FileDescriptorStoreMax=1 (docs/live-upgrade.md)',
    );
  return { notifySocket: NOTIFY_SOCKET, stored: takeOver === undefined ? storedDevice(environment) : null };
}

/** Starts a service with it. What was left stays there if that fails, and the manager is told if it does not. */
export async function withFdStore<T>(store: FdStore | null, start: () => Promise<T>): Promise<T> {
  if (store === null) return start();
  const { notifySocket, stored } = store;
  const started = await start().catch(async (error: unknown) => {
    if (stored !== null) await returnDevice(stored, { notifySocket });
    throw error;
  });
  await serviceReady(notifySocket).catch((error: unknown) => {
    printError(`ferry: the service manager is not told that the device is served: ${messageOf(error)}`);
  });
  return started;
}

/** Leaves the device with the service manager; false when it stays here, and people have been told why. */
export async function leaveDevice(
  running: RunningServer,
  options: Parameters<typeof storeDevice>[1],
): Promise<boolean> {
  try {
    await storeDevice(running, options);
    return true;
  } catch (error) {
    printError(`ferry: the device goes on here: ${messageOf(error)}`);
    return false;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
