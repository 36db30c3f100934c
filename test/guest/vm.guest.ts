import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FERRY, lastJson, Shell } from '../cli/ferry.ts';
import { addressOf, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import { chipOf, driveGpio } from './gpio.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { Load } from './harness/load.ts';
import { TwoHosts } from './harness/two-hosts.ts';
import {
  edu,
  forgetJournal,
  gpio,
  moveArguments,
  nvme,
  receiveArguments,
  sendArguments,
  type Vm,
  VmLab,
} from './vm-lab.ts';

const LONG = process.env['FERRY_VM'] === 'long';
/** How often the VM moves, with all loads on it. */
const MOVES = LONG ? 20 : 1;
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: LONG ? 1_200_000 : 120_000 };
/** The median that is aimed at, in milliseconds. */
const BLACKOUT = 100;
const FIRST_INPUT = 16;
/** What a kernel says of a clock that has stood still. */
const CLOCK = /clocksource|local clock|trace_clock|on the kernel command line|sched_clock/;

const KINDS = [nvme('msix', 0x10), nvme('port', 0x11, true), nvme('line', 0x12), edu(0x13), gpio(0x14)];

describeInGuests('a VM with devices that is moved under load', (lab) => {
  describe.runIf(lab.kernel.flavour === 'full')('on q35', () => {
    let shell: Shell;
    let vms: VmLab;
    let vm: Vm;
    /** Those that verify data, and those that need interrupts to get on. */
    let loads: Loads = { disks: [], lines: [] };
    const blackouts: number[] = [];

    beforeAll(async () => {
      shell = new Shell();
      vms = new VmLab(lab, KINDS);
      vm = await vms.boot();
    });
    afterAll(async () => {
      await vm?.close();
      await shell?.close();
      forgetJournal();
    });

    it('boots with loads on MSI-X, on INTx, and behind a port', ONCE, async () => {
      loads = await startLoads(vm.guest);
      for (const load of loads.lines) await load.settle();
    });

    it(`goes on at each of ${MOVES} other QEMUs on this host`, ONCE, async () => {
      for (let move = 0; move < MOVES; move += 1) {
        const next = await vms.expect();
        const { status, stdout, stderr } = await shell.run(...moveArguments(vm, next));
        expect(status, `${stdout}\n${stderr.slice(-3000)}`).toBe(0);
        blackouts.push(blackoutOf(stdout));
        if (process.env['FERRY_VM_PHASES'] !== undefined)
          console.log(
            JSON.stringify(lastJson(stdout)['phases']),
            JSON.stringify(lastJson(stdout)['vm']),
            JSON.stringify(lastJson(stdout)['rounds']),
          );
        await vm.close();
        vm = next;
        for (const load of [...loads.disks, ...loads.lines]) load.movedTo(vm.guest);
        for (const load of loads.lines) await load.settle();
        expect(vm.guest.complaints).toBe('');
      }
    });

    it('goes on at another host, over TLS', ONCE, async (context) => {
      const hosts = TwoHosts.open();
      if (typeof hosts === 'string') return context.skip(hosts);
      try {
        expect(await shell.run('test-ca', 'tls', 'a.example', 'b.example')).toMatchObject({ status: 0 });
        for (let move = 0; move < (LONG ? 10 : 1); move += 1) {
          const next = await vms.expect();
          await expectSent(hosts, vm, next);
          await vm.close();
          vm = next;
          for (const load of [...loads.disks, ...loads.lines]) load.movedTo(vm.guest);
          for (const load of loads.lines) await load.settle();
        }
      } finally {
        hosts.close();
      }
    });

    /** A receiver on one host, and a sender on the other. */
    async function expectSent(hosts: TwoHosts, from: Vm, to: Vm): Promise<void> {
      const tls = (own: string, other: string): string =>
        `--tls-ca tls/ca.pem --tls-cert tls/${own}.pem --tls-key tls/${own}.key --tls-name ${other}`;
      const ferry = FERRY.join(' ');
      const listen = `--listen tcp:${hosts.address}:4711 ${tls('b.example', 'a.example')}`;
      const receiver = shell.startLine(hosts.on(1, `${ferry} ${receiveArguments(to).join(' ')} ${listen}`));
      await receiver.sees('listening');
      const to4711 = `--to tcp:${hosts.address}:4711 ${tls('a.example', 'b.example')}`;
      const sent = await shell.sh(hosts.on(0, `${ferry} ${sendArguments(from).join(' ')} ${to4711}`));
      expect(sent.status, `${sent.stdout}\n${sent.stderr.slice(-3000)}`).toBe(0);
      blackouts.push(blackoutOf(sent.stdout));
      const received = await receiver.ended;
      expect(received.status, received.stdout + received.stderr).toBe(0);
    }

    it('has found all data as it was written, lost no interrupt, and has no line stuck', ONCE, async () => {
      for (const load of [...loads.disks, ...loads.lines]) expect(await load.end()).toBeGreaterThan(0);
      expect((await vm.guest.kernelComplaints()).filter((line) => !CLOCK.test(line))).toEqual([]);
      const sorted = blackouts.toSorted((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
      console.log(
        `${sorted.length} moves: blackout ${sorted.map((ms) => ms.toFixed(0)).join(', ')} ms; median ${median.toFixed(0)} ms`,
      );
      if (LONG) expect(median).toBeLessThan(BLACKOUT);
    });
  });
});

interface Loads {
  readonly disks: readonly Load[];
  readonly lines: readonly Load[];
}

function blackoutOf(stdout: string): number {
  const figures = lastJson(stdout)['vm'];
  const blackout =
    typeof figures === 'object' && figures !== null && 'blackoutMs' in figures ? figures.blackoutMs : null;
  if (typeof blackout !== 'number') throw new Error(`no blackout in ${stdout}`);
  return blackout;
}

/** Verified requests to three disks, interrupts of edu, and edges at the inputs of gpio. */
async function startLoads(guest: Guest): Promise<Loads> {
  await driveGpio(guest);
  const chip = await chipOf(guest);
  // Its driver crashes at an interrupt before all lines are watched (see gpio.ts).
  await guest.run(`gpio ${chip} watch ${FIRST_INPUT} 16`);
  await guest.load('nvme');
  const line = await addressOfDisk(guest, 'LINE');
  const driver = '/sys/bus/pci/drivers/nvme';
  const without = `echo 0 > /sys/bus/pci/devices/${line}/msi_bus`;
  await guest.run(`echo ${line} > ${driver}/unbind && ${without} && echo ${line} > ${driver}/bind`);
  const uio = await bindToUio(guest, await addressOf(guest, Ids.edu));
  const disks: Load[] = [];
  for (const serial of ['MSIX', 'PORT', 'LINE']) {
    disks.push(await Load.start(guest, `disk /dev/${await nameOf(guest, serial)} $end 1 ${2 ** 20}`));
  }
  const lines = [
    await Load.start(guest, `edu ${await addressOf(guest, Ids.edu)} interrupts /dev/${uio} 20`),
    await Load.start(guest, `gpio ${chip} follow 0 ${FIRST_INPUT} 20; usleep 20000`),
  ];
  return { disks, lines };
}

async function nameOf(guest: Guest, serial: string): Promise<string> {
  const find = `grep -lw ${serial} /sys/class/nvme/nvme*/serial 2>/dev/null`;
  await guest.until(`${find} >/dev/null && test -b /dev/$(basename $(dirname $(${find})))n1`);
  return guest.run(`echo $(basename $(dirname $(${find})))n1`);
}

async function addressOfDisk(guest: Guest, serial: string): Promise<string> {
  return guest.run(`basename $(readlink -f /sys/block/${await nameOf(guest, serial)}/device/device)`);
}
