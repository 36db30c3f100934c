import { afterAll, beforeAll, expect, it } from 'vitest';
import { addressOf, Devices, Ids } from './devices.ts';
import { eduTests } from './edu.ts';
import { gpioDriverTests, gpioRegisterTests } from './gpio.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { memoryTests } from './memory.ts';
import { msixSerialTests, serialTests } from './serial.ts';

const KiB = 1024;

describeInGuests('q35 with its memory given as fds', (lab) => {
  let devices: Devices;
  let guest: Guest;
  beforeAll(async () => {
    devices = new Devices(lab, 'mapped');
    guest = await lab.boot({ machine: 'q35', memory: 'shared', devices: devices.attached(true) });
  });
  afterAll(() => guest?.close());

  const now = { guest: () => guest, devices: () => devices };

  it('finds five devices', async () => {
    for (const id of Object.values(Ids)) await addressOf(guest, id);
  });

  eduTests(now.guest);
  memoryTests(now.guest, now.devices);
  gpioRegisterTests(now.guest, now.devices);
  if (lab.kernel.modules.has('gpio_pci_idio_16')) gpioDriverTests(now.guest, now.devices);
  serialTests(now.guest, now.devices, lab.kernel.flavour === 'full' ? 64 * KiB : 16 * KiB);
  msixSerialTests(now.guest, now.devices);

  it('resets a device behind a port', async () => {
    const address = await addressOf(guest, Ids.edu);
    await guest.run(`edu ${address} liveness 1`);
    expect(devices.edu.state.liveness).toBe(0xfffffffe);
    await guest.run(`echo 1 > /sys/bus/pci/devices/${address}/reset`);
    expect(devices.edu.state.liveness).toBe(0);
    await guest.run(`edu ${address} registers`);
  });

  it('leaves the kernel and QEMU with nothing to complain of', async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    devices.expectNoReports();
  });

  it('resets all devices when it reboots, and uses them again', async () => {
    const edu = await addressOf(guest, Ids.edu);
    await guest.run(`edu ${edu} liveness 1`);
    await guest.reboot();
    expect(await guest.run(`edu ${edu} liveness`)).toBe('0x00000000');
    await guest.run(`edu ${edu} registers`);
    await guest.run(`edu ${edu} dma 3`);
    await guest.run(`memory ${await addressOf(guest, Ids.memory)} msix`);
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    devices.expectNoReports();
  });
});
