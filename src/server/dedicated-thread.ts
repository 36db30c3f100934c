import { parentPort, workerData } from 'node:worker_threads';
import type { BindableDevice } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import { loadNative } from '../native/index.ts';
import { DedicatedReactor } from '../transport/index.ts';
import type { DedicatedEvent, DedicatedJob } from './dedicated.ts';
import { serveDevice } from './serve.ts';

/** The thread of {@link serveDedicated}: makes the device, then blocks for its socket until it is told to end. */
async function run({ options, stop }: DedicatedJob): Promise<void> {
  const { factory, factoryOptions, ...serveOptions } = options;
  const module: { default(options: unknown): BindableDevice | Promise<BindableDevice> } = await import(
    factory
  );
  const device = await module.default(factoryOptions);
  const native = loadNative();
  const reactor = new DedicatedReactor(native);
  const report = ({ code, message }: FerryError): void => tell({ kind: 'report', code, message });
  const running = serveDevice(device, { ...serveOptions, native, reactor, report });
  tell({ kind: 'listening', socketPath: running.socketPath, controlPath: running.controlPath });
  while (Atomics.load(stop, 0) === 0) reactor.runOnce(Number.POSITIVE_INFINITY);
  running.close();
}

function tell(event: DedicatedEvent): void {
  parentPort?.postMessage(event);
}

run(workerData).catch((error: unknown) => {
  const code = error instanceof FerryError ? error.code : 'ERR_UNFORESEEN';
  tell({ kind: 'failed', code, message: error instanceof Error ? error.message : String(error) });
});
