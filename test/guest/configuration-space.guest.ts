import { afterAll, beforeAll, expect, it } from 'vitest';
import { Full } from '../device/full-configuration.ts';
import { addressOf } from './devices.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests, type Served } from './harness/lab.ts';

/** An image that Linux takes for one: signature, PCI data structure, 2 KiB (PCI Firmware Specification 3.3, section 5.1). */
function romImage(): Uint8Array {
  const image = Buffer.alloc(2048, 0xa5);
  image.set([0x55, 0xaa, 4]);
  image.writeUInt16LE(0x1c, 0x18);
  image.write('PCIR', 0x1c, 'latin1');
  image.set([0x4f, 0x49, 0xc8, 0x0d, 0, 0, 0x18, 0, 0, 0, 0, 0xff, 4, 0, 0, 0, 0, 0x80], 0x20);
  return image;
}

/** Of a class that no driver takes, and reset by each way that there is. */
class Resettable extends Full {
  override readonly identity = {
    kind: 'resettable',
    vendor: 0x494f,
    device: 0x0dc8,
    classCode: 0xff0000,
    revision: 0,
  };
  resets = 0;

  constructor() {
    super({ powerManagement: { noSoftReset: false }, rom: romImage() });
  }

  protected override onReset(): void {
    this.resets++;
  }
}

describeInGuests('a configuration space with everything', (lab) => {
  let device: Resettable;
  let served: Served;
  let guest: Guest;
  let folder: string;
  beforeAll(async () => {
    device = new Resettable();
    served = lab.serve('full', device);
    const attached = { id: 'full', socketPath: served.socketPath, slot: 0x10, port: true };
    guest = await lab.boot({ machine: 'q35', memory: 'shared', devices: [attached] });
    folder = `/sys/bus/pci/devices/${await addressOf(guest, '494f:0dc8')}`;
  });
  afterAll(() => guest?.close());

  const word = (offset: number) =>
    guest.run(
      `dd if=${folder}/config bs=4 skip=${offset / 4} count=1 2>/dev/null | hexdump -v -e '1/4 "%08x"'`,
    );

  it('is read by Linux: link, serial number, extended capabilities, what callbacks answer', async () => {
    expect(await guest.run(`cat ${folder}/current_link_speed`)).toBe('2.5 GT/s PCIe');
    expect(await guest.run(`cat ${folder}/serial_number`)).toBe('01-23-45-67-89-ab-cd-ef');
    expect(await word(0x10c)).toBe('11811111');
    device.state.own = 0x5566_7788;
    expect(await word(0x11c)).toBe('55667788');
  });

  it('has a ROM that Linux maps and reads', async () => {
    await guest.run(`echo 1 > ${folder}/rom`);
    const sums = await guest.run(
      `md5sum < ${folder}/rom; head -c 32 ${folder}/rom | hexdump -v -e '1/1 "%02x"'`,
    );
    expect(sums).toContain(Buffer.from(romImage().subarray(0, 32)).toString('hex'));
    await guest.run(`echo 0 > ${folder}/rom`);
  });

  it.each(['flr', 'pm'])('is reset by %s, and keeps what Linux restores', async (method) => {
    const { resets } = device;
    device.state.own = 0x1234_5678;
    const before = await word(0x10);
    await guest.run(`echo ${method} > ${folder}/reset_method && echo 1 > ${folder}/reset`);
    expect([device.state.own, device.resets - resets]).toEqual([0x0403_0201, 1]);
    expect(await word(0x10)).toBe(before);
    expect(await guest.run(`cat ${folder}/power_state`)).toBe('D0');
  });

  it('leaves the kernel and QEMU with nothing to complain of', async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
    expect(served.reported).toEqual([]);
  });
});
