import { errnoName } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { claimName } from '../protocol/index.ts';
import { stateName } from '../states/index.ts';
import type { DeviceServer } from './device-server.ts';

/** What a server knows of itself, for people and tools: every value is JSON (docs/protocol.md, FERRY_INSPECT). */
export function inspect(server: DeviceServer) {
  const { device, migration, hold } = server;
  return {
    identity: { ...device.identity },
    process: { pid: process.pid },
    device: inspectDevice(server),
    migration: {
      interface: server.v1 === null ? 'v2' : 'v1',
      flags: device.migration.flags,
      state: stateName(migration.state),
      sessionOwner: migration.owner?.role ?? null,
      inTransition: migration.inTransition,
      lastError: describeError(migration.lastError),
      v1: server.v1?.inspect() ?? null,
    },
    instance: claimName(server.claims.instance),
    resets: migration.resets,
    claim: describeClaim(server),
    reconnection: describeReconnection(server),
    hold: { ...hold.report(), parkedCommands: server.main?.connection.heldCommands ?? 0 },
    main: inspectMain(server),
    control: { connections: server.controls },
    regions: device.regions
      .filter(({ size }) => size > 0)
      .map(({ index, size, readable, writable, shared }) => ({
        index,
        size,
        readable,
        writable,
        mappable: shared === null ? [] : shared.areas.map((area) => ({ ...area })),
      })),
  };
}

/** The VMM: its process, and what it lets the device write (bytes, as text), directly or by messages. */
function inspectMain({ main, memory, logging, native }: DeviceServer) {
  const { direct, message } = memory.writableBytes;
  return {
    connected: main !== null,
    pid: main === null ? null : peerPid(native, main.connection.fd),
    dmaMaps: memory.mapCount,
    dmaDirect: direct.toString(),
    dmaByMessage: message.toString(),
    dmaLogging: logging.active,
  };
}

/** The process at the other end; null where the kernel does not know it, as with a process of another namespace. */
function peerPid(native: Native, fd: number): number | null {
  const credentials = new Int32Array(3);
  const [pid = 0] = native.peerCredentials(fd, credentials) < 0 ? [] : credentials;
  return pid > 0 ? pid : null;
}

/** What becomes of the state when the VMM comes back; the configuration space is told by FERRY_RECONNECTION. */
function describeReconnection({ reconnection: { policy, view } }: DeviceServer) {
  if (view === null) return { policy, kept: null };
  const { sinceMs, returned, withheldResets } = view;
  return { policy, kept: { sinceMs, returned, withheldResets } };
}

function inspectDevice({ device }: DeviceServer) {
  const { interrupts, ...rest } = device.inspect();
  return {
    ...rest,
    interrupts: {
      ...interrupts,
      pendingMsi: [...interrupts.pendingMsi],
      pendingMsix: [...interrupts.pendingMsix],
    },
  };
}

/** Whose the device is; numbers of 64 bits as text. */
function describeClaim({ claims }: DeviceServer) {
  const { view } = claims;
  return view === null ? null : { ...view, id: claimName(view.id), epoch: view.epoch.toString() };
}

function describeError(error: { code: string; errno: number; message: string } | null) {
  if (error === null) return null;
  return { code: error.code, errno: errnoName(error.errno), message: error.message };
}
