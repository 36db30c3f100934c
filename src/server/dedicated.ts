import { Worker } from 'node:worker_threads';
import type { LogEntry, LogSink } from '../device/index.ts';
import { Errno, FerryError } from '../errors/index.ts';
import type { ServeOptions } from './serve.ts';

/** What can be told a thread of its own: everything of {@link ServeOptions} that is data. */
export type DedicatedOptions = Omit<ServeOptions, 'native' | 'reactor' | 'report' | 'log'> & {
  /** URL of a module whose default export makes the device: `(options) => BindableDevice`. */
  readonly factory: string;
  /** Given to the factory; must survive structured clone. */
  readonly factoryOptions?: unknown;
  /** Takes errors that no client can be told. */
  readonly report?: (error: FerryError) => void;
  /** Takes lines of the log. */
  readonly log?: LogSink;
};

/** An error as it travels between threads. */
export interface DedicatedFailure {
  readonly code: string;
  readonly errno: number;
  readonly message: string;
}

/** What the thread tells. */
export type DedicatedEvent =
  | { readonly kind: 'listening'; readonly socketPath: string | null; readonly controlPath: string | null }
  | { readonly kind: 'log'; readonly entry: LogEntry }
  | ({ readonly kind: 'report' | 'failed' } & DedicatedFailure);

/** What the thread is given. */
export interface DedicatedJob {
  readonly options: Omit<DedicatedOptions, 'report' | 'log'>;
  /** [0] becomes 1 when the thread is to end. */
  readonly stop: Int32Array;
}

/** A device served on a thread of its own. */
export interface DedicatedServer {
  readonly socketPath: string | null;
  readonly controlPath: string | null;
  /** Settles when the thread has ended. */
  readonly ended: Promise<void>;
  /** Ends the thread after its current message, within about a tenth of a second; settles when it has ended. */
  close(): Promise<void>;
}

/** What went wrong in the thread: code, errno and message are those of the error there. */
export class DedicatedError extends FerryError {
  constructor({ code, errno, message }: DedicatedFailure) {
    super(`ERR_${code.replace(/^ERR_/, '')}`, message, { errno });
  }
}

/**
 * Serves a device on a thread that blocks for its socket: the lowest latency. The device must be synchronous; one that
 * declares asynchronous work is refused.
 * @throws DedicatedError with the code of what failed in the thread
 */
export function serveDedicated({ report, log, ...given }: DedicatedOptions): Promise<DedicatedServer> {
  // What nobody takes is not even sent.
  const options = log === undefined ? { ...given, logLevel: null } : given;
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const job: DedicatedJob = { options, stop };
  const worker = new Worker(new URL('./dedicated-thread.js', import.meta.url), { workerData: job });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const close = (): Promise<void> => {
    Atomics.store(stop, 0, 1);
    return ended;
  };
  return new Promise((resolve, reject) => {
    let tell: (error: FerryError) => void = reject;
    const fail = (failure: DedicatedFailure): void => tell(new DedicatedError(failure));
    worker.on('error', ({ message }) => fail({ code: 'ERR_UNFORESEEN', errno: Errno.EIO, message }));
    worker.on('exit', () => reject(new DedicatedError(endedEarly)));
    worker.on('message', (event: DedicatedEvent) => {
      if (event.kind === 'listening') {
        tell = (error) => report?.(error);
        resolve({ ...event, ended, close });
      } else if (event.kind === 'log') log?.(event.entry);
      else if (event.kind === 'failed') fail(event);
      else report?.(new DedicatedError(event));
    });
  });
}

const endedEarly: DedicatedFailure = {
  code: 'ERR_UNFORESEEN',
  errno: Errno.EIO,
  message: 'the thread ended before it served anything',
};
