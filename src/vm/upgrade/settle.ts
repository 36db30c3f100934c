import { DeviceClient } from '../../client/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';
import type { JournalDevice } from '../../journal/index.ts';
import { VmPerformer } from '../performer.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { Policy } from './plan.ts';
import { goBack, type Waits } from './sequences.ts';
import type { BegunUpgrade } from './upgrade-journal.ts';

/** The servers of a VM's devices that are still there. */
export interface Servers {
  readonly clients: readonly DeviceClient[];
  /** Of these. */
  readonly policies: readonly Policy[];
  /** Devices whose servers have ended, or are other ones by now: their states are lost. */
  readonly lost: readonly string[];
  close(): void;
}

/** Reaches the servers that are there. Rejects when one does not answer. */
export async function reachServers(
  { devices, plan }: Pick<BegunUpgrade, 'devices' | 'plan'>,
  timeoutMs: number,
): Promise<Servers> {
  const [clients, policies, lost]: [DeviceClient[], Policy[], string[]] = [[], [], []];
  const close = (): void => {
    for (const client of clients) client.close();
  };
  try {
    for (const [i, device] of devices.entries()) {
      const client = await reachServer(device, timeoutMs);
      if (client === null) lost.push(device.path);
      else clients.push(client);
      if (client !== null) policies.push(plan.policies[i] ?? 'reset');
    }
    return { clients, policies, lost, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function reachServer(
  { path, instance }: JournalDevice,
  timeoutMs: number,
): Promise<DeviceClient | null> {
  const client = await DeviceClient.connect(path, { timeoutMs }).catch((error: unknown) => {
    if (isNobody(error)) return null;
    throw error;
  });
  if (client === null) return null;
  try {
    const found = (await client.claimStatus())?.instance ?? 0n;
    if (instance === 0n || found === instance) return client;
    client.close();
    return null;
  } catch (error) {
    client.close();
    throw error;
  }
}

/** Nobody listens there: a server that only hangs still does. */
function isNobody(error: unknown): boolean {
  const ended: readonly number[] = [Errno.ECONNREFUSED, Errno.ENOENT];
  return error instanceof FerryError && error.code === 'ERR_SOCKET' && ended.includes(error.errno);
}

/** What has become of an upgrade that had not written COMMIT. */
export interface Settled {
  /** `back`: the VM runs in the old QEMU. `taken`: a new one has taken a device, and the old one can't go on. */
  readonly is: 'back' | 'taken';
  /** Devices whose states are lost. */
  readonly lost: readonly string[];
}

/** Has the VM run in the old QEMU as before, with the devices that are there, unless another QEMU has taken one. */
export async function settle(begun: BegunUpgrade, old: QmpClient, waits: Waits): Promise<Settled> {
  const { timeoutMs } = waits;
  const { clients, policies, lost, close } = await reachServers(begun, timeoutMs);
  try {
    const performer = new VmPerformer({ monitor: old, gdbPath: null, clients, folder: '', timeoutMs });
    const isBack = await performer.run(goBack({ settings: begun.plan.settings, policies }, waits));
    return { is: isBack ? 'back' : 'taken', lost };
  } finally {
    close();
  }
}
