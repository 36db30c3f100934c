import { existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lastJson, Shell } from '../cli/ferry.ts';
import { addressOf, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import type { Guest, GuestOptions } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { Load } from './harness/load.ts';

const LONG = process.env['FERRY_VM'] === 'long';
/** How often QEMU is replaced, with all loads on it. */
const UPGRADES = LONG ? 10 : 1;
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: LONG ? 600_000 : 120_000 };
/** What a kernel says of a clock that has stood still. */
const CLOCK = /clocksource|local clock|trace_clock|on the kernel command line|sched_clock/;

/** Devices by the names of their sockets: MSI-X, INTx with MSI-X to be had, INTx with MSI to be had. */
const DEVICES = [
  { id: 'msix', slot: 0x10, serve: ['nvme', '--ram', '8M'] },
  { id: 'line', slot: 0x11, serve: ['nvme', '--ram', '8M'] },
  { id: 'edu', slot: 0x12, serve: ['edu'] },
] as const;

describeInGuests('a VM whose QEMU is replaced', (lab) => {
  describe.runIf(lab.kernel.flavour === 'full')('by cpr-transfer', () => {
    let shell: Shell;
    let guest: Guest;
    let loads: readonly Load[] = [];
    /** One of them that needs interrupts to get on; the others verify data until they are told to end. */
    let edu: Load | undefined;
    let generation = 0;
    const blackouts: number[] = [];

    beforeAll(async () => {
      shell = new Shell();
      for (const { id, serve } of DEVICES) {
        const [kind, ...more] = serve;
        await shell.serve(kind, id, ...more);
      }
      guest = await lab.boot(options());
      loads = await startLoads(guest);
      edu = loads.at(-1);
    });
    afterAll(async () => {
      await guest?.close();
      await shell?.close();
    });

    /** Where the next QEMU waits. */
    const channels = () => ({ main: lab.path(`main-${generation}`), channel: lab.path(`cpr-${generation}`) });
    const gdbPath = () => lab.path(`gdb-${generation}`);
    function options(): GuestOptions {
      const devices = DEVICES.map(({ id, slot }) => ({ id, slot, socketPath: shell.path(id) }));
      return { machine: 'q35', memory: 'shared', cpus: 2, devices, cpr: channels() };
    }

    /** A new QEMU that waits for its memory. */
    async function successor(changes: Partial<GuestOptions> = {}): Promise<Guest> {
      generation += 1;
      const fresh = lab.start({ ...options(), ...changes, incoming: { gdbPath: gdbPath() } });
      await vi.waitUntil(() => existsSync(channels().channel), { timeout: 30_000 });
      return fresh;
    }

    function upgrade(fresh: Guest, ...more: readonly string[]) {
      return upgradeWith(fresh, gdbPath(), ...more);
    }

    function upgradeWith(fresh: Guest, gdb: string, ...more: readonly string[]) {
      const { main, channel } = channels();
      const own = ['--qmp', guest.qmpPath, '--to-qmp', fresh.qmpPath, '--to-gdb', gdb];
      const sockets = DEVICES.map(({ id }) => shell.path(id));
      return shell.run(
        'vm',
        'upgrade',
        '--json',
        ...own,
        '--main',
        main,
        '--cpr',
        channel,
        ...sockets,
        ...more,
      );
    }

    async function expectUpgraded(fresh: Guest): Promise<void> {
      const { status, stdout, stderr } = await upgrade(fresh);
      expect(status, `${stdout}\n${stderr}\n${fresh.complaints}`).toBe(0);
      const { blackoutMs } = lastJson(stdout);
      blackouts.push(Number(blackoutMs));
      if (process.env['FERRY_VM_PHASES'] !== undefined) console.log(stdout);
      await guest.close();
      guest = fresh;
      for (const load of loads) load.movedTo(guest);
      await edu?.settle();
    }

    it('runs on when nobody waits for it, and when nobody comes', ONCE, async () => {
      const fresh = await successor();
      rmSync(channels().main, { force: true });
      const dry = await upgrade(fresh, '--dry-run');
      expect(dry.status, dry.stdout).toBe(0);
      await fresh.close();
      // Its socket is still there, and nobody listens at it.
      const { status, stdout } = await upgrade(fresh);
      expect(status, stdout).toBe(1);
      rmSync(channels().channel, { force: true });
      const refused = await upgrade(fresh);
      expect(lastJson(refused.stdout)['error']).toMatchObject({
        code: 'ERR_VM_REFUSED',
        message: expect.stringContaining('nobody waits at'),
      });
      await edu?.settle();
    });

    it(`goes on in the new one, ${UPGRADES} times`, ONCE, async () => {
      for (let i = 0; i < UPGRADES; i += 1) await expectUpgraded(await successor());
    });

    it('goes on in another one when the first has taken its devices, and can not load it', ONCE, async () => {
      const first = await successor({ cpus: 1 });
      const { status, stdout } = await upgrade(first);
      expect(status, stdout).toBe(3);
      expect(lastJson(stdout)['error']).toMatchObject({ code: 'ERR_VM_STRANDED' });
      await first.close();
      await expectUpgraded(await successor());
    });

    it('goes on in the one that has loaded it when only the rest has failed', ONCE, async () => {
      const fresh = await successor();
      const failed = await upgradeWith(fresh, lab.path('elsewhere'));
      expect(failed.status, failed.stdout).toBe(3);
      await expectUpgraded(fresh);
    });

    it('has found all data as it was written, and lost no interrupt', ONCE, async () => {
      for (const load of loads) expect(await load.end()).toBeGreaterThan(0);
      expect((await guest.kernelComplaints()).filter((line) => !CLOCK.test(line))).toEqual([]);
      const sorted = blackouts.toSorted((a, b) => a - b);
      console.log(`${sorted.length} upgrades: blackout ${sorted.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    });
  });
});

/** Verified requests to a disk with MSI-X and to one with INTx, and interrupts of edu. */
async function startLoads(guest: Guest): Promise<readonly Load[]> {
  await guest.load('nvme');
  const line = '0000:00:11.0';
  const driver = '/sys/bus/pci/drivers/nvme';
  await guest.until(`test -e /sys/bus/pci/devices/${line}/driver`);
  const without = `echo 0 > /sys/bus/pci/devices/${line}/msi_bus`;
  await guest.run(`echo ${line} > ${driver}/unbind && ${without} && echo ${line} > ${driver}/bind`);
  const uio = await bindToUio(guest, await addressOf(guest, Ids.edu));
  const disks: Load[] = [];
  for (const address of ['0000:00:10.0', line]) {
    const find = `ls /sys/bus/pci/devices/${address}/nvme`;
    await guest.until(`test -b /dev/$(${find})n1`);
    disks.push(await Load.start(guest, `disk /dev/$(${find})n1 $end 1 ${2 ** 20}`));
  }
  const edu = await Load.start(guest, `edu ${await addressOf(guest, Ids.edu)} interrupts /dev/${uio} 20`);
  return [...disks, edu];
}
