import { resolve } from 'node:path';
import { CONTROL_SUFFIX, DeviceClient, findControlSocket } from '../client/index.ts';
import { ConfigurationMode } from '../protocol/index.ts';
import { type Examined, examine, type NamedDevice, type VmSide } from './examine.ts';
import { makeFolder, type PrivateFolder, whoElse } from './folder.ts';
import { VmPerformer } from './performer.ts';
import { QmpClient } from './qmp/qmp-client.ts';
import { VmError } from './vm-error.ts';

/** A device of the VM, as its user names it. */
export interface VmDevice {
  /** What QEMU calls it; null: the one that is served at `path`. */
  readonly id: string | null;
  /** Either socket of its server. */
  readonly path: string;
}

/** A VM that is to move, with what is needed to reach it. */
export interface VmSideOptions {
  /** The socket of its monitor (QMP). */
  readonly monitorPath: string;
  /** The socket of its gdb stub; destination only. */
  readonly gdbPath?: string;
  /** Its devices, in the same order on both sides. */
  readonly devices: readonly VmDevice[];
  /** Where QEMU and this process exchange files and sockets; beside the monitor's socket by default. */
  readonly scratch?: string;
  /** How long each answer may take, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5_000;

/** A VM whose monitor and whose devices can be spoken to. */
export interface ReachedVm {
  readonly monitor: QmpClient;
  readonly clients: readonly DeviceClient[];
  readonly folder: PrivateFolder;
  readonly performer: VmPerformer;
  readonly examined: Examined;
  readonly timeoutMs: number;
  readonly notes: readonly string[];
}

/** Reaches a VM and its devices, and examines it. Rejects with VmError: ERR_VM_REFUSED tells all that speaks against it. */
export async function reachVm(side: VmSide, options: VmSideOptions): Promise<ReachedVm> {
  const { monitorPath, gdbPath = null, devices, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const clients: DeviceClient[] = [];
  const monitor = await QmpClient.connect(monitorPath, { timeoutMs });
  let folder: PrivateFolder | null = null;
  let performer: VmPerformer | null = null;
  try {
    for (const { path } of devices)
      clients.push(await DeviceClient.connect(findControlSocket(resolve(path)), { timeoutMs }));
    folder = await makeFolder(monitorPath, options.scratch ?? null);
    performer = new VmPerformer({ monitor, gdbPath, clients, folder: folder.path, timeoutMs });
    const examined = await performer.run(
      examine(
        side,
        devices.map((device, i) => named(device, clients[i])),
      ),
    );
    const { reasons, notes } = await judgePrivacy(gdbPath);
    requireNone(side, monitorPath, [...examined.reasons, ...reasons]);
    return { monitor, clients, folder, performer, examined, timeoutMs, notes };
  } catch (error) {
    await performer?.close();
    monitor.close();
    for (const client of clients) client.close();
    await folder?.remove();
    throw error;
  }
}

/** Gives back what was opened; the VM and its devices stay as they are. */
export async function leaveVm({ monitor, clients, folder, performer }: ReachedVm): Promise<void> {
  await performer.close();
  monitor.close();
  for (const client of clients) client.close();
  await folder.remove();
}

function named({ id, path }: VmDevice, client: DeviceClient | undefined): NamedDevice {
  const whole = resolve(path);
  const socketPath = whole.endsWith(CONTROL_SUFFIX) ? whole.slice(0, -CONTROL_SUFFIX.length) : whole;
  const { switchover = false, configuration = null } = client?.agreement ?? {};
  const inState = configuration === null || configuration === ConfigurationMode.IN_STATE;
  return { id, socketPath, able: switchover && inState };
}

/** Whoever can open the gdb socket owns the guest: its memory, its registers, what it does next. */
async function judgePrivacy(
  gdbPath: string | null,
): Promise<{ readonly reasons: readonly string[]; readonly notes: readonly string[] }> {
  if (gdbPath === null) return { reasons: [], notes: [] };
  const who = await whoElse(gdbPath).catch(() => 'nobody' as const);
  const why = `whoever opens the gdb socket ${gdbPath} owns the guest`;
  if (who === 'everybody')
    return { reasons: [`${why}, and others may: put it into a directory with mode 0700`], notes: [] };
  const note = `${why}: it should be in a directory with mode 0700`;
  return { reasons: [], notes: who === 'nobody' ? [] : [note] };
}

/** What speaks against a VM. @throws VmError ERR_VM_REFUSED when anything does */
export function requireNone(side: VmSide, monitorPath: string, reasons: readonly string[]): void {
  if (reasons.length === 0) return;
  const what = side === 'upgrade' ? 'pass to another QEMU' : `be the ${side} of a migration`;
  const text = `the VM of ${monitorPath} can't ${what}: ${reasons.join('; ')}`;
  throw new VmError('ERR_VM_REFUSED', text, { side, monitor: monitorPath });
}
