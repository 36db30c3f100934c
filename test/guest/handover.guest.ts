import { createHash, randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Running, Shell } from '../cli/ferry.ts';
import { Ids } from './devices.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { Load } from './harness/load.ts';
import { MEMORY, machinesOf } from './matrix.ts';
import { ttyOf } from './serial.ts';

/** `FERRY_HANDOVER=long` makes the numbers that a release has to stand, a number so many hand-overs of each device. */
const WANTED = process.env['FERRY_HANDOVER'] ?? '';
const LONG = WANTED !== '';
/** Hand-overs of each device while the guest uses it, and while it attaches and boots. */
const UNDER_LOAD = WANTED === 'long' ? 100 : Number(WANTED) || 4;
const AT_BOOT = WANTED === 'long' ? 50 : Math.ceil((Number(WANTED) || 6) / 2);
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: LONG ? 1_800_000 : 240_000 };
/** In milliseconds: Linux gives up on a request after 30 s; nobody who was told of its end waits for so long. */
const LONGEST = 15_000;
/** Far below what QEMU waits for an answer, 5 s; the machine has other things to do. */
const LONGEST_PAUSE = 3_500;
const DISK_SIZE = 32 * 2 ** 20;
const WORKERS = 4;
const WORKER_BYTES = 4 * 2 ** 20;
/** Bytes each way over the serial line: each takes several messages. */
const LINE_BYTES = LONG ? 32_768 : 4_096;

/** A device that is served by one process after the other. */
class PassedOn {
  readonly pauses: number[] = [];
  readonly socketPath: string;
  readonly #shell: Shell;
  readonly #args: readonly string[];
  #current: Running;

  private constructor(shell: Shell, socketPath: string, args: readonly string[], first: Running) {
    this.#shell = shell;
    this.socketPath = socketPath;
    this.#args = args;
    this.#current = first;
  }

  static async serve(shell: Shell, socket: string, ...args: readonly string[]): Promise<PassedOn> {
    const common = [...args, '--pause-limit', `${LONGEST_PAUSE}`, '--json'];
    const first = shell.start(['serve', ...common, '--socket-path', shell.path(socket)]);
    await first.sees('"listening"');
    return new PassedOn(shell, shell.path(socket), common, first);
  }

  /** The next process takes over; the one before ends well. */
  async handOver(): Promise<void> {
    const before = this.#current;
    const next = this.#shell.start(['serve', ...this.#args, '--take-over', this.socketPath]);
    await next.sees('"listening"');
    expect(await before.ended).toMatchObject({ status: 0, stderr: '' });
    const [, pause = ''] = /"pauseMs":([\d.]+)/.exec(next.stdout()) ?? [];
    this.pauses.push(Number(pause));
    this.#current = next;
  }

  /** What the process that serves it now has complained of. */
  get complaints(): string {
    return this.#current.stderr();
  }
}

describeInGuests('devices that pass from process to process under their guest', (lab) => {
  describe.each(machinesOf(lab.kernel.flavour))('on %s', (machine) => {
    const shell = new Shell();
    let devices: readonly PassedOn[] = [];
    let guest: Guest;
    let line: Socket;
    const count = { boot: 0 };

    beforeAll(async () => {
      writeFileSync(shell.path('disk.img'), '');
      truncateSync(shell.path('disk.img'), DISK_SIZE);
      devices = await Promise.all([
        PassedOn.serve(shell, 'ram.sock', 'nvme', '--ram', '32M'),
        PassedOn.serve(shell, 'file.sock', 'nvme', '--backend', 'disk.img'),
        PassedOn.serve(shell, 'serial.sock', 'serial', '--backend', `unix:${shell.path('line')}`),
      ]);
      line = connect(shell.path('line'));
      const attached = devices.map(({ socketPath }, i) => ({ id: `d${i}`, socketPath, slot: 0x10 + i }));
      const booting = lab.boot({ machine, memory: MEMORY[machine], cpus: 2, devices: attached });
      // From the moment at which QEMU attaches, one device after the other.
      const passing = (async () => {
        while (count.boot < AT_BOOT) {
          await devices[count.boot % devices.length]?.handOver();
          count.boot += 1;
        }
      })();
      [guest] = await Promise.all([booting, passing]);
      await guest.load('nvme');
      await guest.until('test -b /dev/nvme0n1 && test -b /dev/nvme1n1');
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
      await guest.run(`stty -F ${tty} raw -echo crtscts`);
      const transfer = transferBothWays(guest, line, tty, LINE_BYTES);
      for (let i = 0; i < UNDER_LOAD; i += 1) for (const device of devices) await device.handOver();
      const { sent, received, guestSent, guestReceived } = await transfer;
      expect(received, 'guest to line').toBe(guestSent);
      expect(guestReceived, 'line to guest').toBe(sent);
      for (const load of loads) {
        await load.end();
        const [reads, , , longest] = (await load.output()).split(' ').map(Number);
        expect(reads).toBeGreaterThan(0);
        expect(longest).toBeLessThan(LONGEST);
      }
    });

    it('leave the kernel, QEMU and the servers with nothing to complain of', ONCE, async () => {
      expect(await guest.kernelComplaints()).toEqual([]);
      expect(guest.complaints).toBe('');
      for (const { complaints } of devices) expect(complaints).toBe('');
    });

    it('pause for a moment only', () => {
      const pauses = devices.flatMap((device) => device.pauses).toSorted((a, b) => a - b);
      const at = (share: number): number => pauses[Math.floor(share * (pauses.length - 1))] ?? 0;
      const [least, median, most] = [at(0), at(0.5), at(1)].map((ms) => ms.toFixed(2));
      console.log(
        `${lab.kernel.flavour}, ${machine}: ${pauses.length} hand-overs (${count.boot} of them while it attached and booted); nobody answered for ${least} to ${most} ms, median ${median} ms`,
      );
      expect(at(1)).toBeLessThan(LONGEST_PAUSE);
    });
  });
});

interface Transferred {
  /** Checksums of what each end has sent and received. */
  readonly sent: string;
  readonly received: string;
  readonly guestSent: string;
  readonly guestReceived: string;
}

/** Sends random bytes over the line, both ways at once. */
async function transferBothWays(
  guest: Guest,
  line: Socket,
  tty: string,
  bytes: number,
): Promise<Transferred> {
  const data = randomBytes(bytes);
  const chunks: Buffer[] = [];
  line.on('data', (chunk) => chunks.push(chunk));
  await guest.run(`head -c ${bytes} /dev/urandom > /tmp/out`);
  await guest.run(
    `( exec 3<>${tty}; ( head -c ${bytes} <&3 | sha256sum > /tmp/in.sum; touch /tmp/in.over ) & cat /tmp/out >&3; wait; touch /tmp/line.over ) > /tmp/line.log 2>&1 &`,
  );
  line.write(data);
  await guest.run(
    'until test -e /tmp/line.over && test -e /tmp/in.over; do usleep 50000; done',
    ONCE.timeout,
  );
  const arrived = (): Buffer => Buffer.concat(chunks);
  for (let i = 0; i < 600 && arrived().length < bytes; i += 1)
    await new Promise((wake) => setTimeout(wake, 50));
  line.removeAllListeners('data');
  return {
    sent: sha256(data),
    received: sha256(arrived()),
    guestSent: (await guest.run('sha256sum < /tmp/out')).split(' ')[0] ?? '',
    guestReceived: (await guest.run('cat /tmp/in.sum')).split(' ')[0] ?? '',
  };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
