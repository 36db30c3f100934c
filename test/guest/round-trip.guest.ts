import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { SerialBench } from '../devices/serial-bench.ts';
import { addressOf, Devices, Ids } from './devices.ts';
import type { Storage } from './disks.ts';
import { bindToUio } from './edu.ts';
import { chipOf, driveGpio, letGpioGo } from './gpio.ts';
import type { Guest, Machine } from './harness/guest.ts';
import { describeInGuests, type Lab, type Served } from './harness/lab.ts';
import { Load } from './harness/load.ts';
import { describeTrips, LONGEST_HOLD, roundTrips, type TripOptions } from './harness/round-trips.ts';
import { MEMORY, machinesOf } from './matrix.ts';
import { makeFiles, useIntx, useShortQueues } from './nvme.ts';
import { ttyOf } from './serial.ts';
import { VerifiedLoad } from './verified-load.ts';

const KiB = 1024;
/** What is lost in one trip of many must not be forgiven. */
const ONCE = { retry: 0 };
const OFTEN: TripOptions = { trips: 12, everyMs: 250 };
/** Interrupts of the program `edu` besides its rounds; see programs/edu.c. */
const FURTHER_INTERRUPTS = 3;
const ROUNDS = 10;
/** In place of what a reset keeps. */
const GARBAGE = 0xa5;
/** Of an nvme's queues, where a trip is to meet them at every place. */
const QUEUE_ENTRIES = 8;
/** Bytes that a serial line sends before as many come back. */
const AHEAD = 4 * KiB;

/** While a guest uses a device, its state is taken away and given back; the guest does not notice. */
function roundTripTests(lab: Lab, machine: Machine): void {
  let devices: Devices;
  let guest: Guest;
  beforeAll(async () => {
    devices = new Devices(lab, MEMORY[machine] === 'shared' ? 'mapped' : 'message');
    guest = await lab.boot({ machine, memory: MEMORY[machine], devices: devices.attached(false) });
  });
  afterAll(() => guest?.close());

  const move = async (
    what: string,
    { socketPath }: Served,
    load: Load | VerifiedLoad,
    options: Partial<TripOptions> = {},
  ): Promise<void> => {
    const report = await roundTrips(socketPath, { ...OFTEN, settle: () => load.settle(), ...options });
    console.log(`${machine}, ${lab.kernel.flavour}: ${describeTrips(what, report)}`);
    expect(Math.max(...report.holds)).toBeLessThan(LONGEST_HOLD);
  };

  it('gpio keeps its outputs and its inputs', ONCE, async () => {
    const bar = `/sys/bus/pci/devices/${await addressOf(guest, Ids.gpio)}/resource2`;
    await guest.run(`echo 1 > ${bar.replace('resource2', 'enable')}`);
    const load = await Load.start(
      guest,
      `printf "\\\\$(printf %o $((n % 256)))" | dd of=${bar} bs=1 conv=notrunc && usleep 20000 && test $(dd if=${bar} bs=1 skip=1 count=1 | hexdump -v -e '/1 "%u"') = $((n % 256))`,
    );
    await move('gpio', devices.served.gpio, load);
    expect(await load.end()).toBeGreaterThan(0);
  });

  it.runIf(lab.kernel.modules.has('gpio_pci_idio_16'))(
    'gpio interrupts its driver once at each edge',
    ONCE,
    async () => {
      await driveGpio(guest);
      const chip = await chipOf(guest);
      await guest.run(`gpio ${chip} watch 16 16`);
      const load = await Load.start(guest, `gpio ${chip} follow 0 16 5 && gpio ${chip} follow 9 25 5`);
      await move('gpio, driven', devices.served.gpio, load);
      expect(await load.end()).toBeGreaterThan(0);
      await letGpioGo(guest);
    },
  );

  it('edu keeps its registers, its transfers, and each of its interrupts', ONCE, async () => {
    const address = await addressOf(guest, Ids.edu);
    const uio = await bindToUio(guest, address);
    const seen = async (): Promise<number> => Number(await guest.run(`cat /sys/class/uio/${uio}/event`));
    const before = await seen();
    const load = await Load.start(
      guest,
      `edu ${address} registers && edu ${address} dma ${ROUNDS} && edu ${address} interrupts /dev/${uio} ${ROUNDS}`,
    );
    await move('edu', devices.served.edu, load);
    const repeated = await load.end();
    expect(repeated).toBeGreaterThan(0);
    expect((await seen()) - before).toBe(repeated * (ROUNDS + FURTHER_INTERRUPTS));
  });

  it('memory keeps its checksums of the guest, and each of its messages', ONCE, async () => {
    const address = await addressOf(guest, Ids.memory);
    await guest.run('echo 2 > /proc/sys/vm/nr_hugepages');
    const load = await Load.start(guest, `memory ${address} checksum $n && memory ${address} msix`);
    await move('memory', devices.served.memory, load);
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
      await move('memory, stopped', devices.served.memory, load, {
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
    await move('serial', devices.served.serial, load);
    const bytes = (await load.end().finally(stop)) * KiB;
    expect(bytes).toBeGreaterThan(0);
    expect(await sumIn(guest, `head -c ${bytes} ${received}`)).toBe(sha256(forGuest.subarray(0, bytes)));
    // What the guest has written last is still on its way.
    await vi.waitUntil(() => bench.sent.length >= bytes, { timeout: 20_000 });
    expect(bench.sent).toHaveLength(bytes);
    const repeated = `i=0; while test $i -lt ${bytes / KiB}; do cat ${piece}; i=$((i + 1)); done`;
    expect(sha256(Buffer.from(bench.sent))).toBe(await sumIn(guest, repeated));
  });

  describe.each<Storage>(['ram', 'file'])('nvme in %s', (storage) => {
    const moveDisk = async (what: string, load: Load | VerifiedLoad): Promise<void> => {
      const disk = devices.disks[storage];
      await move(what, disk.served, load, { destroy: () => disk.destroyContents() });
    };

    it('keeps what is written, and each completion of one request at a time', ONCE, async () => {
      await guest.load('nvme');
      await useShortQueues(guest, devices.disks[storage], QUEUE_ENTRIES);
      const load = await VerifiedLoad.start(guest, devices.disks[storage], 1);
      await moveDisk('nvme', load);
      console.log(await load.end());
    });

    it('keeps its interrupt asserted until the guest has taken everything', ONCE, async () => {
      await useIntx(guest, devices.disks[storage]);
      const load = await VerifiedLoad.start(guest, devices.disks[storage], 2);
      await moveDisk('nvme, INTx', load);
      console.log(await load.end());
    });

    it('keeps a file system', ONCE, async () => {
      const disk = devices.disks[storage];
      await makeFiles(guest, disk);
      await guest.run(`mount -t ext4 /dev/${await disk.nameIn(guest)} /tmp/disk`);
      const file = '/tmp/disk/file$((n % 3))';
      const flush = 'sync; echo 3 > /proc/sys/vm/drop_caches';
      const load = await Load.start(
        guest,
        `head -c 500000 /dev/urandom > /tmp/data && cp /tmp/data ${file} && ${flush}; cmp /tmp/data ${file}`,
      );
      await moveDisk('nvme, file system', load);
      expect(await load.end()).toBeGreaterThan(0);
      await guest.run('cd /tmp/disk && sha256sum -c sums >/dev/null && cd / && umount /tmp/disk');
    });

    it('keeps what its driver is doing to its registers', ONCE, async () => {
      const device = `/sys/block/${await devices.disks[storage].nameIn(guest)}/device`;
      const load = await Load.start(
        guest,
        `echo 1 > ${device}/reset_controller && test "$(cat ${device}/state)" = live`,
      );
      await moveDisk('nvme, reset by its driver', load);
      expect(await load.end()).toBeGreaterThan(0);
    });
  });

  it('leaves the kernel and QEMU with nothing to complain of', ONCE, async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    devices.expectNoReports();
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

describeInGuests('round trips', (lab) => {
  describe.each(machinesOf(lab.kernel.flavour))('on %s', (machine) => roundTripTests(lab, machine));
});
