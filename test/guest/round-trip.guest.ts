import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NvmeDevice } from '../../src/devices/index.ts';
import type { SerialBench } from '../devices/serial-bench.ts';
import { addressOf, Devices, EDU_SLOT, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests, type Lab, type Served } from './harness/lab.ts';
import { Load } from './harness/load.ts';
import { describeTrips, LONGEST_HOLD, roundTrips, type TripOptions } from './harness/round-trips.ts';
import { ttyOf } from './serial.ts';

const KiB = 1024;
/** What is lost in one trip of many must not be forgiven. */
const ONCE = { retry: 0 };
const OFTEN: TripOptions = { trips: 15, everyMs: 300 };
/** Interrupts of the program `edu` besides its rounds; see programs/edu.c. */
const FURTHER_INTERRUPTS = 3;
const ROUNDS = 10;
/** In place of what a reset keeps. */
const GARBAGE = 0xa5;
/** Bytes that a serial line sends before as many come back. */
const AHEAD = 4 * KiB;

/** While a guest uses a device, its state is taken away and given back; the guest does not notice. */
function roundTripTests(lab: Lab, machine: 'q35' | 'pc', memory: 'shared' | 'private'): void {
  let devices: Devices;
  const disk = new NvmeDevice({ ram: 16 * KiB * KiB });
  let served: Served;
  let guest: Guest;
  beforeAll(async () => {
    devices = new Devices(lab, memory === 'shared' ? 'mapped' : 'message');
    served = lab.serve('nvme', disk);
    const attached = { id: 'nvme', socketPath: served.socketPath, slot: EDU_SLOT - 1 };
    guest = await lab.boot({ machine, memory, devices: [...devices.attached(false), attached] });
  });
  afterAll(() => guest?.close());

  const move = async (what: string, { socketPath }: Served, options: TripOptions): Promise<void> => {
    const report = await roundTrips(socketPath, options);
    console.log(`${machine}, ${lab.kernel.flavour}: ${describeTrips(what, report)}`);
    expect(Math.max(...report.holds)).toBeLessThan(LONGEST_HOLD);
  };

  it('edu keeps its registers, its transfers, and each of its interrupts', ONCE, async () => {
    const address = await addressOf(guest, Ids.edu);
    const uio = await bindToUio(guest, address);
    const seen = async (): Promise<number> => Number(await guest.run(`cat /sys/class/uio/${uio}/event`));
    const before = await seen();
    const load = await Load.start(
      guest,
      `edu ${address} registers && edu ${address} dma ${ROUNDS} && edu ${address} interrupts /dev/${uio} ${ROUNDS}`,
    );
    await move('edu', devices.served.edu, OFTEN);
    const repeated = await load.end();
    expect(repeated).toBeGreaterThan(0);
    expect((await seen()) - before).toBe(repeated * (ROUNDS + FURTHER_INTERRUPTS));
  });

  it('memory keeps its checksums of the guest, and each of its messages', ONCE, async () => {
    const address = await addressOf(guest, Ids.memory);
    await guest.run('echo 2 > /proc/sys/vm/nr_hugepages');
    const load = await Load.start(guest, `memory ${address} checksum $n && memory ${address} msix`);
    await move('memory', devices.served.memory, OFTEN);
    expect(await load.end()).toBeGreaterThan(0);
  });

  it(
    'memory keeps what the guest writes through its mapping, when the VM is stopped meanwhile',
    ONCE,
    async () => {
      const address = await addressOf(guest, Ids.memory);
      const qmp = await guest.qmp();
      const length = 64 * KiB;
      const memory = `memory ${address}`;
      const again = `usleep 100000 && test "$(${memory} crc ${length})" = "$sum"`;
      const load = await Load.start(
        guest,
        `sum=$(${memory} fill $n ${length}) && ${again} && ${again} && ${again}`,
      );
      await move('memory, stopped', devices.served.memory, {
        ...OFTEN,
        pause: () => qmp.execute('stop'),
        resume: () => qmp.execute('cont'),
        destroy: () => devices.memory.state.memory.bytes.fill(GARBAGE),
      });
      expect(await load.end()).toBeGreaterThan(0);
    },
  );

  it('serial carries bytes both ways at a time and loses none', ONCE, async () => {
    const tty = await ttyOf(guest, Ids.serial);
    const { bench } = devices;
    const [forGuest, received, piece] = [randomBytes(KiB * KiB), '/tmp/received', '/tmp/piece'];
    await guest.run(
      `stty -F ${tty} raw -echo crtscts; head -c ${KiB} /dev/urandom > ${piece}; : > ${received}`,
    );
    const load = await Load.start(
      guest,
      `cat ${piece} >&3 && until test $(stat -c %s ${received}) -ge $((n * ${KiB} + ${KiB})); do usleep 10000; done`,
      `exec 3<>${tty}; cat <&3 > ${received} & trap "kill $!" EXIT`,
    );
    bench.forget();
    const stop = feed(bench, forGuest);
    await move('serial', devices.served.serial, OFTEN);
    const bytes = (await load.end().finally(stop)) * KiB;
    expect(bytes).toBeGreaterThan(0);
    expect(await sumIn(guest, `head -c ${bytes} ${received}`)).toBe(sha256(forGuest.subarray(0, bytes)));
    expect(bench.sent).toHaveLength(bytes);
    const repeated = `i=0; while test $i -lt ${bytes / KiB}; do cat ${piece}; i=$((i + 1)); done`;
    expect(sha256(Buffer.from(bench.sent))).toBe(await sumIn(guest, repeated));
  });

  it('nvme keeps a file system', ONCE, async () => {
    for (const module of ['nvme', 'ext4']) await guest.load(module);
    const node = '/dev/nvme0n1';
    await guest.until(`test -b ${node}`);
    await guest.run(`mke2fs -F -I 256 ${node} && mkdir /tmp/disk && mount -t ext4 ${node} /tmp/disk`);
    const file = '/tmp/disk/file$((n % 3))';
    const flush = 'sync; echo 3 > /proc/sys/vm/drop_caches';
    const load = await Load.start(
      guest,
      `head -c 1000000 /dev/urandom > /tmp/data && cp /tmp/data ${file} && ${flush}; cmp /tmp/data ${file}`,
    );
    const contents = disk.state.ram?.bytes;
    await move('nvme', served, { ...OFTEN, destroy: () => contents?.fill(GARBAGE) });
    expect(await load.end()).toBeGreaterThan(0);
    await guest.run('umount /tmp/disk');
  });

  it('leaves the kernel and QEMU with nothing to complain of', ONCE, async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    devices.expectNoReports();
    expect(served.reported).toEqual([]);
  });
}

/**
 * Sends as much as comes back, a little ahead. A line without a speed could keep a guest in its interrupt handler for as
 * long as there is anything to send.
 */
function feed(bench: SerialBench, data: Buffer): () => void {
  let given = 0;
  const timer = setInterval(() => {
    while (given < data.length && given < bench.sent.length + AHEAD) {
      bench.send(data.subarray(given, given + KiB));
      given += KiB;
    }
  }, 5);
  return () => clearInterval(timer);
}

async function sumIn(guest: Guest, command: string): Promise<string> {
  return guest.run(`( ${command} ) | sha256sum | cut -c 1-64`);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describeInGuests('round trips on q35 with its memory given as fds', (lab) =>
  roundTripTests(lab, 'q35', 'shared'),
);

describeInGuests('round trips on pc with its memory to itself', (lab) =>
  roundTripTests(lab, 'pc', 'private'),
);
