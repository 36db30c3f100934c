import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addressOf, Devices, Ids } from './devices.ts';
import type { Guest, Machine } from './harness/guest.ts';
import type { Lab } from './harness/lab.ts';
import { MATRIX, MEMORY, type Now } from './matrix.ts';
import { expectFiles } from './nvme.ts';
import { VerifiedLoad } from './verified-load.ts';

/** Where a guest boots once more. */
const REBOOT = { timeout: 240_000 };

/** All devices of the matrix in one guest: each by itself, then what belongs to all of them. */
export function machineTests(lab: Lab, machine: Machine, further: (now: Now) => void): void {
  let devices: Devices;
  let guest: Guest;
  beforeAll(async () => {
    devices = new Devices(lab, MEMORY[machine] === 'shared' ? 'mapped' : 'message');
    guest = await lab.boot({
      machine,
      memory: MEMORY[machine],
      devices: devices.attached(machine === 'q35'),
    });
  });
  afterAll(() => guest?.close());

  const now: Now = { guest: () => guest, devices: () => devices };

  it('finds all devices', async () => {
    for (const id of Object.values(Ids)) await addressOf(guest, id);
  });

  for (const tried of MATRIX) {
    describe(tried.device, () => tried.tests(now, tried.kernels.includes(lab.kernel.flavour)));
  }

  it('leaves the kernel and QEMU with nothing to complain of', () => expectNoComplaints(now));

  it('resets all devices when it reboots, and uses them again', REBOOT, async () => {
    await leaveMark(guest);
    await guest.reboot();
    await expectFresh(now);
    for (const disk of Object.values(devices.disks)) await expectFiles(guest, disk);
    await expectNoComplaints(now);
  });

  it('resets all devices in the middle of requests, and uses them again', REBOOT, async () => {
    for (const disk of Object.values(devices.disks)) await VerifiedLoad.start(guest, disk, 2);
    await leaveMark(guest);
    await sleep(300);
    await guest.reset();
    await expectFresh(now);
    for (const disk of Object.values(devices.disks)) await expectFiles(guest, disk);
    await expectNoComplaints(now);
  });

  further(now);
}

async function leaveMark(guest: Guest): Promise<void> {
  await guest.run(`edu ${await addressOf(guest, Ids.edu)} liveness 1`);
}

/** Expects that a reset has taken the mark away, and that devices work. */
async function expectFresh({ guest }: Now): Promise<void> {
  const edu = await addressOf(guest(), Ids.edu);
  expect(await guest().run(`edu ${edu} liveness`)).toBe('0x00000000');
  await guest().run(`edu ${edu} registers && edu ${edu} dma 3`);
  await guest().run(`memory ${await addressOf(guest(), Ids.memory)} msix`);
}

async function expectNoComplaints({ guest, devices }: Now): Promise<void> {
  expect(await guest().kernelComplaints()).toEqual([]);
  expect(guest().complaints).toBe('');
  devices().expectNoReports();
}
