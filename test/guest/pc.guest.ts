import { afterAll, beforeAll, expect, it } from 'vitest';
import { Edu } from '../../src/devices/index.ts';
import { addressOf, Devices, EDU_SLOT, Ids } from './devices.ts';
import { eduTests } from './edu.ts';
import { gpioRegisterTests } from './gpio.ts';
import { type Guest, inSlot, vfioUserDevice } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { memoryTests } from './memory.ts';
import { serialTests } from './serial.ts';

const KiB = 1024;

describeInGuests('pc with its memory to itself', (lab) => {
  let devices: Devices;
  let guest: Guest;
  beforeAll(async () => {
    devices = new Devices(lab, 'message');
    guest = await lab.boot({ machine: 'pc', memory: 'private', devices: devices.attached(false) });
  });
  afterAll(() => guest?.close());

  const now = { guest: () => guest, devices: () => devices };

  it('finds five devices', async () => {
    for (const id of Object.values(Ids)) await addressOf(guest, id);
  });

  eduTests(now.guest);
  memoryTests(now.guest, now.devices);
  gpioRegisterTests(now.guest, now.devices);
  serialTests(now.guest, now.devices, 2 * KiB);

  it('leaves the kernel and QEMU with nothing to complain of', async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    devices.expectNoReports();
  });

  it('survives a server that ends, and takes the device back when a new one serves it', async () => {
    const { edu } = devices.served;
    const address = await addressOf(guest, Ids.edu);
    await guest.run(`edu ${address} liveness 1`);
    edu.close();
    expect(await guest.run(`edu ${address} liveness`), 'nobody answers').toBe('0xffffffff');

    const qmp = await guest.qmp();
    await qmp.execute('device_del', { id: 'edu' });
    await qmp.event('DEVICE_DELETED');
    const again = lab.serve('edu', new Edu());
    await qmp.execute('device_add', vfioUserDevice(again.socketPath, { id: 'again', ...inSlot(EDU_SLOT) }));
    await guest.until(`test -e /sys/bus/pci/devices/${address}/uio`);

    expect(await guest.run(`edu ${address} liveness`)).toBe('0x00000000');
    await guest.run(`edu ${address} registers`);
    await guest.run(`edu ${address} dma 3`);
    const uio = await guest.run(`ls /sys/bus/pci/devices/${address}/uio`);
    await guest.run(`edu ${address} interrupts /dev/${uio} 3`);
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(again.reported).toEqual([]);
  });
});
