import { loadNative, type Native } from '../native/index.ts';
import type { DeviceServer, RunningServer, ServedConnection, ServedListener } from '../server/index.ts';
import { EventLoopReactor, type Reactor } from '../transport/index.ts';
import { asFerryError, HandoverError } from './handover-error.ts';
import { PROTOCOL_VERSION, StateHead } from './layout.ts';
import { effectiveLimits, type HandoverLimits } from './limits.ts';
import { encodeHello } from './messages.ts';
import { OwnConnection } from './own-connection.ts';
import { Packer } from './pack.ts';
import { Parcel } from './parcel.ts';
import { moment } from './pause.ts';
import { ServiceManager } from './service-manager.ts';
import { Standstill } from './standstill.ts';

/** Where a service manager keeps devices between two processes. */
export interface FdStoreOptions extends HandoverLimits {
  /** $NOTIFY_SOCKET of the service. */
  readonly notifySocket: string;
  /** Why the device can't be left with it; null, the default: nothing is known against it. */
  readonly obstacle?: string | null;
}

/** The name under which the manager keeps it (FDNAME). */
export const STORE_NAME = 'ferry';
/** What has the manager drop what it keeps under that name. */
const FORGET = ['FDSTOREREMOVE=1', `FDNAME=${STORE_NAME}`];
/** How often it is begun anew because the device was reset meanwhile. */
const MAX_ATTEMPTS = 20;
/** So much of the state is asked for at a time, in bytes. */
const CHUNK = 256 * 1024;

/**
 * Leaves a device with the service manager, with its clients, for the process that it starts next: nobody is served from
 * then on, and this process should end. When it rejects, the device goes on here (docs/live-upgrade.md).
 * @throws HandoverError what speaks against it, or that the manager does not answer; NativeError
 */
export async function storeDevice(
  { server, listeners }: Pick<RunningServer, 'server' | 'listeners'>,
  { notifySocket, obstacle = null, ...more }: FdStoreOptions,
): Promise<void> {
  const limits = effectiveLimits(more);
  const { native, reactor } = server;
  const manager = managerAt(notifySocket, { answerMs: limits.frozenMs, native, reactor });
  if (obstacle !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', obstacle);
  const own = new OwnConnection(server);
  const parts = { server, listeners, by: own.served, limits };
  const standstill = new Standstill(parts);
  standstill.requireNoObstacle();
  let parcel: Parcel | null = null;
  try {
    await stop(standstill);
    parcel = packed(parts, standstill);
    await leaveWith(manager, parcel);
    standstill.leave();
  } catch (error) {
    // What the manager may still have is empty: nobody goes on with it but this process.
    parcel?.spoil();
    await standstill.goOn();
    throw asFerryError(error, 'left with the service manager');
  } finally {
    parcel?.close();
    own.close();
  }
}

/** The device comes to rest; begun anew while its guest resets it, as at boot. */
async function stop(standstill: Standstill): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      standstill.begin();
      await standstill.settle();
      await standstill.stop();
      return standstill.freeze();
    } catch (error) {
      if (!standstill.wasReset || attempt >= MAX_ATTEMPTS) throw error;
      await standstill.goOn();
    }
  }
}

interface Stopped {
  readonly server: DeviceServer;
  readonly listeners: readonly ServedListener[];
  readonly by: ServedConnection;
}

function packed({ server, listeners, by }: Stopped, standstill: Standstill): Parcel {
  const { native, device } = server;
  const { stopped } = standstill;
  const data = stateOf(server, by);
  const { bytes: record, fds } = standstill.record();
  const hello = encodeHello({
    ...{ protocol: PROTOCOL_VERSION, pid: process.pid, identity: device.identity },
    ...{ parts: device.handover?.parts ?? [], shared: device.handover?.shared ?? [] },
    fds: listeners.length + server.succession.descriptors(by),
  });
  const saved = moment();
  const head = new Packer();
  head.struct(StateHead, {
    ...{ recordLength: record.length, recordChecksum: native.crc32(record, 0), fds: fds.length },
    dataLength: BigInt(data.reduce((sum, { length }) => sum + length, 0)),
    ...{ stoppedAt: stopped.at, savedAt: saved.at, savingCpu: saved.cpu - stopped.cpu },
  });
  return Parcel.pack(native, { hello, head: head.finish(), record, fds, data });
}

function stateOf(server: DeviceServer, by: ServedConnection): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const buffer = new Uint8Array(CHUNK);
  for (;;) {
    const count = server.migration.read(buffer, by);
    if (count === 0) return pieces;
    pieces.push(buffer.slice(0, count));
  }
}

/**
 * Has the manager keep a parcel instead of any before. FDPOLL=0: one that polls would drop what has been hung up on
 * (sd_notify(3)). Rejects when it does not answer; it may have the parcel all the same.
 */
export async function leaveWith(manager: ServiceManager, parcel: Parcel): Promise<void> {
  await manager.notify(FORGET);
  await manager.notify(['FDSTORE=1', `FDNAME=${STORE_NAME}`, 'FDPOLL=0'], [parcel.fd]);
  await manager.barrier();
}

/** The service manager behind a $NOTIFY_SOCKET, which has so many milliseconds (10000 by default) for each answer. */
export function managerAt(
  path: string,
  {
    answerMs = effectiveLimits({}).answerMs,
    native = loadNative(),
    reactor = new EventLoopReactor(native),
  }: { readonly answerMs?: number | undefined; readonly native?: Native; readonly reactor?: Reactor } = {},
): ServiceManager {
  return new ServiceManager(native, reactor, { path, answerMs });
}

/**
 * Tells the service manager that this process serves now (READY=1) and is the one to follow (MAINPID), and has it drop what
 * it keeps, which is empty by now.
 */
export async function serviceReady(notifySocket: string): Promise<void> {
  const manager = managerAt(notifySocket);
  await manager.notify(FORGET);
  await manager.notify(['READY=1', `MAINPID=${process.pid}`]);
}
