import type { BindableDevice } from '../device/index.ts';
import type { FerryError } from '../errors/index.ts';
import { check, loadNative, type Native } from '../native/index.ts';
import { DeviceServer } from '../server/index.ts';
import { EventLoopReactor } from '../transport/index.ts';
import { Delivery } from './delivery.ts';
import { type FdStoreOptions, leaveWith, managerAt, STORE_NAME } from './fd-store.ts';
import { HandoverError } from './handover-error.ts';
import { Landing } from './landing.ts';
import { decodeHello, misfit } from './messages.ts';
import { Parcel, ParcelMemory } from './parcel.ts';
import { moment, pauseOf } from './pause.ts';
import { asRunning, type TakenServer, type TakeOverOptions } from './take-over.ts';

/** How a device is taken back. What is said of sockets comes from the process that has left it. */
export type RestoreOptions = Omit<TakeOverOptions, 'controlPath' | 'answerMs'>;

/** What a service manager has kept, and may be taken back once. */
export interface StoredDevice {
  /** Everything, in the order of the parcel. */
  readonly fds: readonly number[];
}

/**
 * Looks for a device that the process before has left with the service manager, in the environment that it has given to this
 * one (sd_listen_fds(3)). Its fds are the caller's, and nobody else has them any more. Null: there is none.
 * @throws HandoverError when it is there and can't be had
 */
export function storedDevice(
  environment: Readonly<Record<string, string | undefined>>,
  native: Native = loadNative(),
): StoredDevice | null {
  for (const fd of storedFds(environment, process.pid)) {
    const parcel = new Parcel(native, native.dup(fd));
    native.close(fd);
    try {
      const fds = parcel.open();
      if (fds.length > 0) return { fds };
    } finally {
      parcel.close();
    }
  }
  return null;
}

/** The first fd that a service is given (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;

/** The fds of that name among those that the environment tells of, if it is meant for process `pid`. */
export function storedFds(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
): readonly number[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment;
  if (LISTEN_PID !== `${pid}`) return [];
  const names = LISTEN_FDNAMES.split(':').slice(0, Number(LISTEN_FDS) || 0);
  return names.flatMap((name, i) => (name === STORE_NAME ? [LISTEN_FDS_START + i] : []));
}

/**
 * Goes on with a device that was left with the service manager. When this rejects, leave it there again, for a process that
 * can: {@link returnDevice}.
 * @throws HandoverError why it can't be taken; DeviceError for a wrong declaration
 */
export async function restoreDevice(
  device: BindableDevice,
  stored: StoredDevice,
  options: RestoreOptions,
): Promise<TakenServer> {
  const native = options.native ?? loadNative();
  const reactor = options.reactor ?? new EventLoopReactor(native, options);
  const server = new DeviceServer(device, { ...options, native, reactor });
  try {
    const taken = await restore(server, stored);
    for (const fd of stored.fds) native.close(fd);
    return taken;
  } catch (error) {
    server.succession.abandon();
    throw error;
  }
}

/** Leaves a device with the service manager again that could not be taken back. Its fds are closed. */
export async function returnDevice(
  { fds }: StoredDevice,
  { notifySocket, answerMs }: Pick<FdStoreOptions, 'notifySocket' | 'answerMs'>,
): Promise<void> {
  const native = loadNative();
  const manager = managerAt(notifySocket, { answerMs });
  const parcel = Parcel.fill(native, fds);
  for (const fd of fds) native.close(fd);
  await leaveWith(manager, parcel).finally(() => parcel.close());
}

async function restore(server: DeviceServer, { fds }: StoredDevice): Promise<TakenServer> {
  const { native } = server;
  const arrived = moment();
  const memory = new ParcelMemory(native, fds[0] ?? -1);
  const hello = decodeHello(memory.hello);
  const { identity, handover } = server.device;
  const why =
    handover === undefined
      ? 'this device declares no state that it could go on with'
      : misfit(hello, { identity, parts: handover.parts, shared: handover.shared });
  if (why !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', why);
  const delivery = new Delivery(native, memory.head);
  const landing = new Landing(server, (error: FerryError) => server.report(error));
  try {
    await landing.begin(hello.shared.map(({ name }) => name));
    await load(landing, delivery, { memory, fds: fds.slice(1).map((fd) => check(native.dup(fd), 'dup')) });
  } catch (error) {
    delivery.discard();
    landing.leave();
    throw error;
  }
  const taken = moment();
  await landing.run();
  landing.finish();
  const pause = pauseOf(delivery.head, arrived, taken, moment());
  return asRunning(server, { listeners: landing.listeners, pid: hello.pid, pause });
}

/** Has the device load its state, and take what belongs to it. Throws what does not suit. */
async function load(
  landing: Landing,
  delivery: Delivery,
  { memory, fds }: { readonly memory: ParcelMemory; readonly fds: readonly number[] },
): Promise<void> {
  delivery.addFds(fds);
  delivery.addBytes(memory.record);
  const record = delivery.record();
  if (record === null)
    throw new HandoverError('ERR_HANDOVER_FDS', 'not all descriptors of the device came back');
  delivery.owned(record.server.device.blocks.map(({ fd }) => fd));
  landing.adoptBlocks(record);
  for (const piece of memory.data()) landing.write(piece);
  await landing.load();
  landing.settle(record, delivery.owned);
}
