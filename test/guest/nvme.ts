import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type Devices, driverOf } from './devices.ts';
import type { Disk, Storage } from './disks.ts';
import type { Guest } from './harness/guest.ts';
import { VerifiedLoad } from './verified-load.ts';

const WORKERS = 4;
const VERIFIED_MS = 2000;
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0 };

/** What Linux's nvme driver makes of an nvme. Afterwards there are files on it: see {@link expectFiles}. */
export function nvmeTests(guest: () => Guest, devices: () => Devices, storage: Storage): void {
  const disk = (): Disk => devices().disks[storage];

  it('is driven by nvme, by way of MSI-X', async () => {
    await guest().load('nvme');
    const block = `/sys/block/${await disk().nameIn(guest())}`;
    expect(await driverOf(guest(), await disk().addressIn(guest()))).toBe('nvme');
    expect(await guest().run(`cat ${block}/device/state`)).toBe('live');
    expect(Number(await guest().run(`cat ${block}/size`)) * 512).toBe(disk().bytes);
    const cache = disk().cached ? 'write back' : 'write through';
    expect(await guest().run(`cat ${block}/queue/write_cache`)).toBe(cache);
    expect(await interruptsOf(guest(), disk())).toMatch(/MSI-?X/);
  });

  it('holds a file system', ONCE, async () => {
    await makeFiles(guest(), disk());
    await expectFiles(guest(), disk());
  });

  it('finds each block as it was written last', ONCE, async () => {
    const load = await VerifiedLoad.start(guest(), disk(), WORKERS);
    await sleep(VERIFIED_MS);
    await load.end();
  });

  it('is reset by its driver and by PCI while there are requests, and loses nothing', ONCE, async () => {
    const device = `/sys/block/${await disk().nameIn(guest())}/device`;
    const address = await disk().addressIn(guest());
    const load = await VerifiedLoad.start(guest(), disk(), WORKERS);
    for (const file of [`${device}/reset_controller`, `/sys/bus/pci/devices/${address}/reset`]) {
      await guest().run(`usleep 300000; echo 1 > ${file}; usleep 300000`);
      await guest().until(`test "$(cat ${device}/state)" = live`);
    }
    await load.end({ interrupted: true });
  });

  it('is driven by way of INTx where the guest does without MSI', ONCE, async () => {
    await useIntx(guest(), disk());
    const load = await VerifiedLoad.start(guest(), disk(), WORKERS);
    await sleep(VERIFIED_MS);
    await load.end();
    await expectFiles(guest(), disk());
  });
}

/** Makes a file system in the first half of a disk, with files in it and a list of their checksums. */
export async function makeFiles(guest: Guest, disk: Disk): Promise<void> {
  await guest.load('ext4');
  const node = `/dev/${await disk.nameIn(guest)}`;
  await guest.run(
    `mke2fs -F -I 256 ${node} ${disk.bytes / 2 / 1024} && mkdir -p /tmp/disk && mount -t ext4 ${node} /tmp/disk`,
  );
  await guest.run(
    'cd /tmp/disk && head -c 1000000 /dev/urandom > a && for i in $(seq 20); do echo $i > $i; done',
  );
  await guest.run('cd /tmp/disk && sha256sum a [0-9]* > sums && cd / && umount /tmp/disk');
}

/** Expects the files of {@link makeFiles}, in a guest that may never have seen them. */
export async function expectFiles(guest: Guest, disk: Disk): Promise<void> {
  for (const module of ['nvme', 'ext4']) await guest.load(module);
  const node = `/dev/${await disk.nameIn(guest)}`;
  await guest.run(
    `sync; echo 3 > /proc/sys/vm/drop_caches; mkdir -p /tmp/disk && mount -t ext4 ${node} /tmp/disk`,
  );
  const checked = await guest.run('cd /tmp/disk && sha256sum -c sums; cd / && umount /tmp/disk');
  expect(checked.split('\n')).toHaveLength(21);
  for (const line of checked.split('\n')) expect(line).toMatch(/: OK$/);
}

/** Has the driver begin anew and do without MSI (Documentation/ABI/testing/sysfs-bus-pci). */
export async function useIntx(guest: Guest, disk: Disk): Promise<void> {
  await bindAgain(guest, disk, `echo 0 > /sys/bus/pci/devices/${await disk.addressIn(guest)}/msi_bus`);
  expect(await interruptsOf(guest, disk)).not.toMatch(/MSI/);
}

/** Has the driver begin anew with I/O queues of so many entries, which are soon full and begin at the start again. */
export async function useShortQueues(guest: Guest, disk: Disk, entries: number): Promise<void> {
  await bindAgain(guest, disk, `echo ${entries} > /sys/module/nvme/parameters/io_queue_depth`);
  expect(disk.device.state.completionSize[1]).toBe(entries);
}

async function bindAgain(guest: Guest, disk: Disk, between: string): Promise<void> {
  const address = await disk.addressIn(guest);
  const driver = '/sys/bus/pci/drivers/nvme';
  await guest.run(`echo ${address} > ${driver}/unbind && ${between} && echo ${address} > ${driver}/bind`);
  await disk.nameIn(guest);
}

/** The lines of /proc/interrupts that belong to a disk. */
async function interruptsOf(guest: Guest, disk: Disk): Promise<string> {
  const name = await disk.nameIn(guest);
  return guest.run(`grep -w ${name.slice(0, -2)}q0 /proc/interrupts`);
}
