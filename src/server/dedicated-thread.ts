import { parentPort, workerData } from 'node:worker_threads';
import type { BindableDevice, LogEntry } from '../device/index.ts';
import { Errno, FerryError } from '../errors/index.ts';
import { loadNative } from '../native/index.ts';
import { DedicatedReactor } from '../transport/index.ts';
import type { DedicatedEvent, DedicatedFailure, DedicatedJob } from './dedicated.ts';
import { serveDevice } from './serve.ts';

/** The thread of {@link serveDedicated}: makes the device, then blocks for its socket until it is told to end. */
async function run({ options, stop }: DedicatedJob): Promise<void> {
  const { factory, factoryOptions, ...serveOptions } = options;
  const module: { default(options: unknown): BindableDevice | Promise<BindableDevice> } = await import(
    factory
  );
  const device = await module.default(factoryOptions);
  const native = loadNative();
  const reactor = new DedicatedReactor(native, serveOptions);
  const report = (error: FerryError): void => tell({ kind: 'report', ...describe(error) });
  const log = (entry: LogEntry): void => tell({ kind: 'log', entry });
  const running = serveDevice(device, { ...serveOptions, native, reactor, report, log });
  try {
    tell({ kind: 'listening', socketPath: running.socketPath, controlPath: running.controlPath });
    reactor.run(() => Atomics.load(stop, 0) !== 0);
  } finally {
    running.close();
  }
}

function tell(event: DedicatedEvent): void {
  parentPort?.postMessage(event);
}

function describe(error: unknown): DedicatedFailure {
  if (error instanceof FerryError) return { code: error.code, errno: error.errno, message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'ERR_UNFORESEEN', errno: Errno.EIO, message };
}

run(workerData).catch((error: unknown) => tell({ kind: 'failed', ...describe(error) }));
