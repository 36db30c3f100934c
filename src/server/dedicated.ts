import { Worker } from 'node:worker_threads';
import type { FerryError } from '../errors/index.ts';
import type { ServeOptions } from './serve.ts';
import { ServerError } from './server-error.ts';

/** What can be told a thread of its own: everything of {@link ServeOptions} that is data. */
export type DedicatedOptions = Omit<
  ServeOptions,
  'native' | 'reactor' | 'report' | 'spinMicroseconds' | 'budgetMicroseconds'
> & {
  /** URL of a module whose default export makes the device: `(options) => BindableDevice`. */
  readonly factory: string;
  /** Given to the factory; must survive structured clone. */
  readonly factoryOptions?: unknown;
  /** Takes errors that no client can be told. */
  readonly report?: (error: Pick<FerryError, 'code' | 'message'>) => void;
};

/** What the thread tells. */
export type DedicatedEvent =
  | { readonly kind: 'listening'; readonly socketPath: string | null; readonly controlPath: string | null }
  | { readonly kind: 'report' | 'failed'; readonly code: string; readonly message: string };

/** What the thread is given. */
export interface DedicatedJob {
  readonly options: Omit<DedicatedOptions, 'report'>;
  /** [0] becomes 1 when the thread is to end. */
  readonly stop: Int32Array;
}

/** A device served on a thread of its own. */
export interface DedicatedServer {
  readonly socketPath: string | null;
  readonly controlPath: string | null;
  /** Ends the thread after its current message; settles when its sockets are closed. */
  close(): Promise<void>;
}

/**
 * Serves a device on a thread that blocks for its socket: the lowest latency. The device must be synchronous; one that
 * declares asynchronous work is refused.
 * @throws ServerError with the code of what failed in the thread
 */
export function serveDedicated({ report, ...options }: DedicatedOptions): Promise<DedicatedServer> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const job: DedicatedJob = { options, stop };
  const worker = new Worker(new URL('./dedicated-thread.js', import.meta.url), { workerData: job });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const close = (): Promise<void> => {
    Atomics.store(stop, 0, 1);
    return ended;
  };
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.on('message', (event: DedicatedEvent) => {
      if (event.kind === 'listening') resolve({ ...event, close });
      else if (event.kind === 'report') report?.(event);
      else reject(new ServerError('ERR_ASYNCHRONOUS', event.message, { code: event.code }));
    });
  });
}
