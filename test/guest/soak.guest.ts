import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Disk } from './disks.ts';
import type { Guest, Machine } from './harness/guest.ts';
import { describeInGuests, type Lab } from './harness/lab.ts';
import { describeTrips, LONGEST_HOLD, roundTrips } from './harness/round-trips.ts';
import { MEMORY, machinesOf } from './matrix.ts';
import { VerifiedLoad } from './verified-load.ts';

/** How long there is I/O. */
const SECONDS = Number(process.env['FERRY_GUEST_SOAK_SECONDS'] ?? 30);
/** From one round trip of a disk to its next. */
const EVERY_MS = 3000;
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: SECONDS * 1000 + 200_000 };

function soakTests(lab: Lab, machine: Machine): void {
  let disks: readonly Disk[] = [];
  let guest: Guest;
  beforeAll(async () => {
    disks = [new Disk(lab, 'ram'), new Disk(lab, 'file')];
    const devices = disks.map((disk, i) => disk.attached(0x10 + i));
    guest = await lab.boot({ machine, memory: MEMORY[machine], cpus: 2, devices });
    await guest.load('nvme');
  });
  afterAll(() => guest?.close());

  it(`finds each block as it was written last, for ${SECONDS} s`, ONCE, async () => {
    const loads: VerifiedLoad[] = [];
    for (const disk of disks) loads.push(await VerifiedLoad.start(guest, disk, 4));
    const reports = await Promise.all(
      disks.map((disk, i) =>
        roundTrips(disk.served.socketPath, {
          trips: Math.ceil((SECONDS * 1000) / EVERY_MS),
          everyMs: EVERY_MS,
          settle: async () => loads[i]?.settle(),
          destroy: () => disk.destroyContents(),
        }),
      ),
    );
    for (const [i, load] of loads.entries()) {
      const report = reports[i];
      const told = await load.end();
      console.log(`${lab.kernel.flavour}: ${told}; ${report && describeTrips('nvme', report)}`);
    }
    for (const { holds } of reports) expect(Math.max(...holds)).toBeLessThan(LONGEST_HOLD);
  });

  it('leaves the kernel and QEMU with nothing to complain of', ONCE, async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    for (const { served } of disks) expect(served.reported).toEqual([]);
  });
}

describeInGuests('random I/O while disks make round trips', (lab) => {
  describe.each(machinesOf(lab.kernel.flavour))('on %s', (machine) => soakTests(lab, machine));
});
