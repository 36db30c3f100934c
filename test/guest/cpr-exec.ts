import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { awaitLoaded } from '../../src/vm/destination/incoming.ts';
import { QmpClient, VmError } from '../../src/vm/index.ts';
import { ecamAddress, findEcam } from '../../src/vm/machine/ecam.ts';
import { VmPerformer } from '../../src/vm/performer.ts';
import type { VmRecord } from '../../src/vm/record.ts';
import { compareViews } from '../../src/vm/source/client-state.ts';
import { qmp, read, reconnections, save } from '../../src/vm/step.ts';
import { reachMonitor } from '../../src/vm/upgrade/reach-vmm.ts';
import { quietenLines, runUpgraded, setUpUpgraded, standStill } from '../../src/vm/upgrade/sequences.ts';
import type { Guest } from './harness/guest.ts';
import type { Lab } from './harness/lab.ts';

const timeoutMs = 60_000;
/** COMMAND, and its bits that let a device answer and reach memory: I/O space, memory space, bus master. */
const COMMAND_AT = 4n;
const ENABLES = 0x07;

/** Has QEMU execute itself anew in its process, with the guest and its devices; the servers keep the states meanwhile. */
export async function executeAnew(
  lab: Lab,
  guest: Guest,
  devices: readonly { readonly id: string; readonly controlPath: string }[],
): Promise<void> {
  const ids = devices.map(({ id }) => id);
  const clients = await Promise.all(
    devices.map(({ controlPath }) => DeviceClient.connect(controlPath, { timeoutMs })),
  );
  try {
    const record = await giveAway(lab, guest, clients, ids);
    await takeBack(lab, guest, clients, record);
  } finally {
    for (const client of clients) client.close();
  }
}

async function giveAway(
  lab: Lab,
  guest: Guest,
  clients: readonly DeviceClient[],
  ids: readonly string[],
): Promise<VmRecord> {
  guest.leaveMonitor();
  const monitor = await QmpClient.connect(guest.qmpPath, { timeoutMs });
  const performer = new VmPerformer({ monitor, gdbPath: null, clients, folder: lab.path(''), timeoutMs });
  const ecam = await performer.run(findEcam(save));
  if (ecam === null) throw new Error('no configuration space');
  await performer.run(reconnections(ids.map((_, device) => ({ device, choice: 'keep' }))));
  const lines = await performer.run(quietenLines(ids));
  const views = await performer.run(compareViews(ecam, ids));
  const record = await performer.run(standStill(ids, ecam, views, lines));
  const state = lab.path('state');
  const command = guest.commandWith('-S', '-incoming', `file:${state}`, '-gdb', stub(lab));
  await performer.run(qmp('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command }));
  await performer.run(qmp('migrate', { uri: `file:${state}` }));
  await monitor.ended(timeoutMs);
  return record;
}

function stub(lab: Lab): string {
  return `unix:${lab.path('gdb-exec')},server=on,wait=off`;
}

/** While QEMU executes itself nobody listens at its monitor, or one who goes. */
async function reachAgain(guest: Guest): Promise<QmpClient> {
  for (;;) {
    const monitor = await reachMonitor(guest.qmpPath, timeoutMs).catch((error: unknown) => {
      if (error instanceof VmError && error.code === 'ERR_VM_GONE') return null;
      throw error;
    });
    if (monitor !== null) return monitor;
    if (!guest.runs) throw new Error(`QEMU has ended: ${guest.complaints}`);
    await sleep(20);
  }
}

async function takeBack(
  lab: Lab,
  guest: Guest,
  clients: readonly DeviceClient[],
  record: VmRecord,
): Promise<void> {
  const monitor = await reachAgain(guest);
  const performer = new VmPerformer({
    ...{ monitor, gdbPath: lab.path('gdb-exec'), clients, folder: lab.path(''), timeoutMs },
  });
  try {
    await performer.run(awaitLoaded(timeoutMs));
    await expectReset(performer, clients, record);
    await performer.run(setUpUpgraded(record));
    await performer.run(runUpgraded({ policies: clients.map(() => 'reset') }));
    for (const client of clients) await client.reconnection('reset');
  } finally {
    await performer.close();
    monitor.close();
  }
}

/** What docs/vm-migration.md says of it: QEMU connects anew, resets, and its devices answer nothing. */
async function expectReset(
  performer: VmPerformer,
  clients: readonly DeviceClient[],
  { ecam, devices }: VmRecord,
): Promise<void> {
  for (const [i, device] of devices.entries()) {
    const [command = ENABLES] = await performer.run(read(ecamAddress(ecam, device) + COMMAND_AT, 2));
    expect(command & ENABLES).toBe(0);
    const status = await clients[i]?.reconnection(null);
    expect(status?.kept).toMatchObject({ returned: true });
    expect(status?.kept?.withheldResets).toBeGreaterThan(0);
  }
}
