import { createHash, randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Shell } from '../cli/ferry.ts';
import { addressOf, Ids } from './devices.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { Load } from './harness/load.ts';
import { figuresOf, LONGEST_PAUSE, PassedOn, WITH_MESSAGE_DMA, WITHOUT } from './harness/passed-on.ts';
import { MEMORY, machinesOf } from './matrix.ts';
import { ttyOf } from './serial.ts';

/**
 * `FERRY_HANDOVER=long` makes the numbers that a release has to stand, with edu as well; a number so many hand-overs of
 * each device.
 */
const WANTED = process.env['FERRY_HANDOVER'] ?? '';
const LONG = WANTED !== '';
/** Hand-overs of each device while the guest uses it, and while it attaches and boots. */
const UNDER_LOAD = WANTED === 'long' ? 100 : Number(WANTED) || 4;
const AT_BOOT = WANTED === 'long' ? 50 : Math.ceil((Number(WANTED) || 6) / 2);
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: LONG ? 1_800_000 : 240_000 };
/** In milliseconds: Linux gives up on a request after 30 s; nobody who was told of its end waits for so long. */
const LONGEST = 15_000;
const DISK_SIZE = 32 * 2 ** 20;
const WORKERS = 4;
const WORKER_BYTES = 4 * 2 ** 20;
/** Bytes each way over the serial line: each takes several messages. */
const LINE_BYTES = LONG ? 32_768 : 4_096;

describeInGuests('devices that pass from process to process under their guest', (lab) => {
  describe.each(machinesOf(lab.kernel.flavour))('on %s', (machine) => {
    const shell = new Shell();
    let devices: readonly PassedOn[] = [];
    let guest: Guest;
    let line: Socket;
    const count = { boots: 1, boot: 0, transfers: 0 };

    beforeAll(async () => {
      writeFileSync(shell.path('disk.img'), '');
      truncateSync(shell.path('disk.img'), DISK_SIZE);
      const inMemory = MEMORY[machine] === 'private' ? WITH_MESSAGE_DMA : WITHOUT;
      const serve = PassedOn.serve.bind(null, shell);
      devices = await Promise.all([
        serve('ram.sock', inMemory, 'nvme', '--ram', '32M'),
        serve('file.sock', inMemory, 'nvme', '--backend', 'disk.img'),
        ...(LONG ? [serve('edu.sock', inMemory, 'edu')] : []),
        serve('serial.sock', WITHOUT, 'serial', '--backend', `unix:${shell.path('line')}`),
      ]);
      line = connect(shell.path('line'));
      const attached = devices.map(({ socketPath }, i) => ({ id: `d${i}`, socketPath, slot: 0x10 + i }));
      const booting = async (): Promise<void> => {
        guest = await lab.boot({ machine, memory: MEMORY[machine], cpus: 2, devices: attached });
        await findDisks(guest);
        for (; LONG && count.boot < AT_BOOT; count.boots += 1) {
          await guest.reboot();
          await findDisks(guest);
        }
      };
      // From the moment at which QEMU attaches, one device after the other.
      const passing = async (): Promise<void> => {
        for (; count.boot < AT_BOOT; count.boot += 1) {
          await devices[count.boot % devices.length]?.handOver();
        }
      };
      await Promise.all([booting(), passing()]);
    }, ONCE.timeout);

    afterAll(async () => {
      line?.destroy();
      await guest?.close();
      await shell.close();
    });

    it('boot, and are found by their drivers, while they do', ONCE, async () => {
      expect(count.boot).toBeGreaterThanOrEqual(AT_BOOT);
      expect(await guest.kernelComplaints()).toEqual([]);
      expect(guest.complaints).toBe('');
    });

    it('lose, double and damage nothing while the guest reads and writes', ONCE, async () => {
      const loads: Load[] = [];
      for (const disk of ['nvme0n1', 'nvme1n1']) {
        loads.push(await Load.start(guest, `disk /dev/${disk} $end ${WORKERS} ${WORKER_BYTES}`));
      }
      const tty = await ttyOf(guest, Ids.serial);
      loads.push(...(await registerLoads(guest)));
      const passing = { over: false };
      const pass = async (): Promise<void> => {
        for (let i = 0; i < UNDER_LOAD; i += 1) for (const device of devices) await device.handOverInTurn();
        passing.over = true;
      };
      [count.transfers] = await Promise.all([transferUntil(guest, { line, tty }, passing), pass()]);
      for (const load of loads) expect(await load.end()).toBeGreaterThan(0);
      for (const load of loads.slice(0, 2)) {
        const [reads, , , longest] = (await load.output()).split(' ').map(Number);
        expect(reads).toBeGreaterThan(0);
        expect(longest).toBeLessThan(LONGEST);
      }
    });

    it('leave the kernel, QEMU and the servers with nothing to complain of', ONCE, async () => {
      // Together: what the guest suffers from is explained by the others.
      expect({
        kernel: await guest.kernelComplaints(),
        qemu: guest.complaints,
        servers: devices.map(({ complaints }) => complaints),
      }).toEqual({ kernel: [], qemu: '', servers: devices.map(() => '') });
    });

    it('pause for a moment only', () => {
      const passed = devices.flatMap((device) => device.passed);
      console.log(
        [
          `${lab.kernel.flavour}, ${machine}: ${passed.length} hand-overs, ${count.boot} of them while it attached and booted (${count.boots} times); ${count.transfers} transfers of ${LINE_BYTES} bytes each way over the line; nobody answered for so long (median, least, most in ms):`,
          ...figuresOf(passed),
        ].join('\n'),
      );
      expect(Math.max(...passed.map(({ ms }) => ms))).toBeLessThan(LONGEST_PAUSE);
    });
  });
});

async function findDisks(guest: Guest): Promise<void> {
  await guest.load('nvme');
  await guest.until('test -b /dev/nvme0n1 && test -b /dev/nvme1n1');
}

/** What uses registers and configuration spaces, and waits for each answer. */
async function registerLoads(guest: Guest): Promise<readonly Load[]> {
  const edu = LONG ? await addressOf(guest, Ids.edu) : null;
  const addresses = (await guest.run('cd /sys/bus/pci/devices && ls -1d 0000:00:1[0-3].0')).split('\n');
  const commands = addresses.map((address) => `config /sys/bus/pci/devices/${address}/config $end`);
  // Mostly DMA: one that is seldom is not met by a hand-over that waits for it for a second.
  if (edu !== null) commands.push(`edu ${edu} registers && edu ${edu} dma 30`);
  const loads: Load[] = [];
  for (const command of commands) loads.push(await Load.start(guest, command));
  return loads;
}

/** A line to a device, and what the guest makes of that. */
interface Line {
  readonly line: Socket;
  readonly tty: string;
}

/** Transfers again and again until something is over; how often. Nothing may be lost, doubled or damaged. */
async function transferUntil(
  guest: Guest,
  { line, tty }: Line,
  passing: { readonly over: boolean },
): Promise<number> {
  await guest.run(`stty -F ${tty} raw -echo crtscts`);
  // It is open all the time: what comes to a terminal that nobody has opened is lost.
  await guest.run(
    `rm -f /tmp/line.*; ( exec 3<>${tty}; touch /tmp/line.open; until test -e /tmp/line.end; do usleep 50000; done ) > /dev/null 2>&1 &`,
  );
  await guest.until('test -e /tmp/line.open');
  const arrived: Buffer[] = [];
  line.on('data', (chunk) => arrived.push(chunk));
  let transfers = 0;
  do {
    const transferred = await transferBothWays(guest, { line, tty }, arrived);
    const { sent, received, guestSent, guestReceived } = transferred;
    expect(received, 'guest to line').toBe(guestSent);
    expect(guestReceived, 'line to guest').toBe(sent);
    transfers += 1;
  } while (!passing.over);
  await guest.run('touch /tmp/line.end');
  return transfers;
}

interface Transferred {
  /** Checksums of what each end has sent and received. */
  readonly sent: string;
  readonly received: string;
  readonly guestSent: string;
  readonly guestReceived: string;
}

/** Sends random bytes over the line, both ways at once; what has `arrived` at its end is taken from there. */
async function transferBothWays(guest: Guest, { line, tty }: Line, arrived: Buffer[]): Promise<Transferred> {
  const bytes = LINE_BYTES;
  const data = randomBytes(bytes);
  await guest.run(`rm -f /tmp/line.over /tmp/in.over; head -c ${bytes} /dev/urandom > /tmp/out`);
  await guest.run(
    `( exec 3<>${tty}; ( head -c ${bytes} <&3 | sha256sum > /tmp/in.sum; touch /tmp/in.over ) & cat /tmp/out >&3; wait; touch /tmp/line.over ) > /tmp/line.log 2>&1 &`,
  );
  line.write(data);
  await guest.run(
    'until test -e /tmp/line.over && test -e /tmp/in.over; do usleep 50000; done',
    ONCE.timeout,
  );
  const length = (): number => arrived.reduce((sum, chunk) => sum + chunk.length, 0);
  for (let i = 0; i < 600 && length() < bytes; i += 1) await new Promise((wake) => setTimeout(wake, 50));
  return {
    sent: sha256(data),
    // What comes twice, and late, is found at the beginning of the next.
    received: sha256(Buffer.concat(arrived.splice(0))),
    guestSent: (await guest.run('sha256sum < /tmp/out')).split(' ')[0] ?? '',
    guestReceived: (await guest.run('cat /tmp/in.sum')).split(' ')[0] ?? '',
  };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
