import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceClient, findControlSocket } from '../../client/index.ts';
import { clientEnd, type MigrationProgress, type MigrationReport, migrate } from '../../engine/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { sizeFor } from '../serve/device-factory.ts';
import { type Check, type Scene, verify } from './checks.ts';
import { DmaJobs } from './dma-jobs.ts';
import { Guest } from './guest.ts';
import { Image, makeFile } from './image.ts';
import { Load } from './load.ts';
import { type ServerProcess, startServer } from './server-process.ts';

/** What a demo is told. */
export interface DemoOptions {
  /** The command line of `ferry`, with which the servers are started. */
  readonly ferry: readonly string[];
  /** A file whose content is the device's memory; null: one of random bytes is made. */
  readonly file: string | null;
  /** Bytes of the device's memory; null for 64 MiB, or for what the file needs. */
  readonly size: number | null;
  readonly signal?: AbortSignal;
  /** Called when the servers run and the guest has booted. */
  readonly onStart?: (started: DemoStart) => void;
  readonly onProgress?: (progress: MigrationProgress) => void;
  /** Called between the end of the load and the comparison; a test spoils something here. */
  readonly beforeVerify?: (guest: Guest) => Promise<void>;
}

/** What runs in a demo. */
export interface DemoStart {
  readonly size: number;
  readonly file: string | null;
  readonly sourcePid: number;
  readonly destinationPid: number;
}

/** What a demo has shown. */
export interface DemoResult {
  /** Every check is ok. */
  readonly verified: boolean;
  readonly checks: readonly Check[];
  readonly report: MigrationReport;
}

/** Something that was started and must be ended. */
type Cleanup = () => void | Promise<void>;

const DEFAULT_SIZE = 64 * 1024 * 1024;
/** How long the guest works before and after the move, in milliseconds. */
const WORK_MS = 500;

/**
 * Starts two servers, plays a guest that never stops on the device of the first, moves the device to the second and
 * compares everything. Whatever happens, nothing of it is left afterwards.
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const cleanups: Cleanup[] = [];
  try {
    return await untilAborted(options.signal, play(options, cleanups));
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

async function play(options: DemoOptions, cleanups: Cleanup[]): Promise<DemoResult> {
  const size = sizeOf(options);
  const folder = mkdtempSync(join(tmpdir(), 'ferry-demo-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = options.file ?? join(folder, 'image');
  if (options.file === null) makeFile(file, size);
  const image = new Image(file, size);
  const [from, to] = await startServers(options.ferry, folder, size, file, cleanups);
  const guest = new Guest();
  cleanups.push(() => guest.close());
  await guest.boot(from.socketPath);
  options.onStart?.({ size, file: options.file, sourcePid: from.pid, destinationPid: to.pid });
  const source = await connect(from, cleanups);
  const destination = await connect(to, cleanups);
  return perform(options, { guest, image, source, destination }, to.socketPath);
}

async function perform(
  options: DemoOptions,
  stage: Pick<Scene, 'guest' | 'image' | 'source' | 'destination'>,
  destinationPath: string,
): Promise<DemoResult> {
  const { guest, image, source, destination } = stage;
  const load = new Load(guest, image);
  const jobs = new DmaJobs(guest);
  const work = Promise.all([load.run(), jobs.run()]);
  work.catch(() => {});
  await Promise.race([work, sleep(WORK_MS)]);
  let clockAtSource = 0;
  const beforeStop = async (): Promise<void> => {
    await guest.pause();
    clockAtSource = load.clock;
    await jobs.startLast();
  };
  const report = await migrate(clientEnd(source), clientEnd(destination), {
    hooks: { beforeStop, beforeRun: () => guest.moveTo(destinationPath) },
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  guest.resume();
  await Promise.race([work, sleep(WORK_MS)]);
  load.stop();
  jobs.stop();
  await work;
  await options.beforeVerify?.(guest);
  const checks = await verify({ ...stage, load, jobs, clockAtSource });
  return { verified: checks.every(({ ok }) => ok), checks, report };
}

async function startServers(
  ferry: readonly string[],
  folder: string,
  size: number,
  file: string,
  cleanups: Cleanup[],
): Promise<readonly [ServerProcess, ServerProcess]> {
  const start = async (name: string, ...more: string[]): Promise<ServerProcess> => {
    const socketPath = join(folder, `${name}.sock`);
    const server = startServer({ ferry, socketPath, arguments: ['--size', String(size), ...more] });
    cleanups.push(() => server.stop());
    await server.listening;
    return server;
  };
  return Promise.all([start('source', '--image', file), start('destination')]);
}

async function connect({ socketPath }: ServerProcess, cleanups: Cleanup[]): Promise<DeviceClient> {
  const client = await DeviceClient.connect(findControlSocket(socketPath));
  cleanups.push(() => client.close());
  return client;
}

function sizeOf({ file, size }: DemoOptions): number {
  if (size !== null) return size;
  if (file === null) return DEFAULT_SIZE;
  const found = statSync(file, { throwIfNoEntry: false });
  if (found?.isFile() !== true) throw new UsageError(`there is no file ${file}`);
  return sizeFor(found.size);
}

/** Rejects as soon as the signal says so, so that everything can be ended; what was under way fails by that. */
function untilAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  work.catch(() => {});
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
