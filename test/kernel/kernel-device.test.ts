import { describe, expect, it } from 'vitest';
import { deviceEnd, migrate } from '../../src/engine/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { findDevice, isKernelDevice, KernelDevice, probeKernelDevice } from '../../src/kernel/index.ts';
import { V1_REGION_SUBTYPE, V1_REGION_TYPE } from '../../src/protocol/index.ts';
import { FakeKernel } from './fake-kernel.ts';
import { V1Registers } from './fake-v1.ts';
import { opened, PCI, UUID } from './opened.ts';

describe('a name', () => {
  it.each([PCI, UUID, '/dev/vfio/3', '/dev/vfio/devices/vfio0', 'kernel:anything'])(
    '%s is of the kernel',
    (name) => {
      expect(isKernelDevice(name)).toBe(true);
    },
  );

  it.each(['/tmp/a.sock', 'a.sock', '/dev/vfio/vfio', './0000:00:05.0', '00:05.0'])(
    '%s is a path',
    (name) => {
      expect(isKernelDevice(name)).toBe(false);
    },
  );

  it('leads to a device, its driver and its group, whatever it is', () => {
    const kernel = new FakeKernel({ iommufd: true });
    kernel.add(PCI);
    kernel.add(UUID);
    for (const name of [PCI, `kernel:${PCI}`, '/dev/vfio/0', '/dev/vfio/devices/vfio0']) {
      expect(findDevice(name, kernel.sysfs)).toMatchObject({
        ...{ name: PCI, bus: 'pci', group: 0, file: '/dev/vfio/devices/vfio0' },
      });
    }
    expect(findDevice(UUID.toUpperCase(), kernel.sysfs)).toMatchObject({ name: UUID, bus: 'mdev', group: 1 });
  });

  it.each([
    ['0000:00:06.0', 'there is no device'],
    ['/dev/vfio/9', 'there is no IOMMU group'],
    ['/dev/vfio/devices/vfio9', 'there is no /dev/vfio/devices/vfio9'],
    ['kernel:../x', 'neither'],
    ['kernel:..', 'neither'],
  ])('%s of nothing is refused', (name, why) => {
    const kernel = new FakeKernel();
    kernel.add(PCI);
    expect(() => findDevice(name, kernel.sysfs)).toThrow(why);
  });

  it('of a group with several devices is not enough', () => {
    const kernel = new FakeKernel();
    kernel.add(PCI, {}, 0);
    kernel.add('0000:00:05.1', {}, 0);
    expect(() => findDevice('/dev/vfio/0', kernel.sysfs)).toThrow('name one of');
  });
});

describe('opening', () => {
  it('is refused while another process has the group, and leaves nothing open', async () => {
    const kernel = new FakeKernel();
    kernel.add(UUID);
    const others = kernel.open('/dev/vfio/0');
    const where = { system: kernel, sysfs: kernel.sysfs };
    await expect(KernelDevice.open(UUID, where)).rejects.toMatchObject({
      ...{ code: 'ERR_KERNEL_BUSY', errno: Errno.EBUSY, message: expect.stringContaining('another process') },
    });
    expect([...kernel.files.keys()]).toEqual([others]);
    kernel.close(others);
    (await KernelDevice.open(UUID, where)).close();
    expect(kernel.files.size).toBe(0);
  });

  it('of a group that can not be used says which devices are in the way', async () => {
    const kernel = new FakeKernel({ notViable: [0] });
    kernel.add(PCI, {}, 0);
    kernel.add('0000:00:05.1', {}, 0);
    const attempt = KernelDevice.open(PCI, { system: kernel, sysfs: kernel.sysfs });
    await expect(attempt).rejects.toThrow('0000:00:05.1');
    expect(kernel.files.size).toBe(0);
  });

  it('takes the own file of a device where the kernel has iommufd, and the group when told so', async () => {
    for (const [way, found] of [
      [null, 'cdev'],
      ['group', 'group'],
    ] as const) {
      const { device } = await opened({}, { iommufd: true, way });
      expect((await device.inspectServer()).kernel.way).toBe(found);
      device.close();
    }
  });

  it('probes a device, and says why it can not', async () => {
    const { kernel, device } = await opened();
    const where = { system: kernel, sysfs: kernel.sysfs };
    expect(await probeKernelDevice(UUID, where)).toMatchObject({
      refused: { code: 'ERR_KERNEL_BUSY' },
      flags: null,
    });
    device.close();
    expect(await probeKernelDevice(UUID, where)).toMatchObject({ refused: null, flags: 7n, state: 2 });
    expect(kernel.files.size).toBe(0);
  });

  it('is over when it was closed', async () => {
    const { device } = await opened();
    expect(device.closedBecause).toBe(null);
    device.close();
    device.close();
    expect(device.closedBecause).toMatchObject({ code: 'ERR_KERNEL_CLOSED' });
    await expect(device.irqInfo(0)).rejects.toMatchObject({ code: 'ERR_KERNEL_CLOSED' });
  });
});

describe('regions', () => {
  it('are read and written whatever a driver takes at a time', async () => {
    const { device, fake } = await opened();
    await device.write(0, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect([...fake.driver.registers]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await device.readU64(0, 0)).toBe(0x0807060504030201n);
    expect(await device.readU32(0, 4n)).toBe(0x08070605);
  });

  it.each([
    [0, 8, 1],
    [0, 0, 9],
    [0, -1, 1],
    [2, 0, 1],
  ])('have no bytes beyond their size (%d: %d, %d)', async (region, offset, length) => {
    const { device } = await opened();
    await expect(device.read(region, offset, length)).rejects.toMatchObject({ code: 'ERR_KERNEL_ARGUMENT' });
  });

  it('are described with everything else, without a change', async () => {
    const { device, kernel } = await opened();
    const description = await device.describe();
    expect(description.regions.map(({ size }) => size)).toEqual([8n, 8n, 0n, 0n, 0n, 0n, 0n, 0xffn, 0n]);
    expect(description.interrupts.map(({ count }) => count)).toEqual([1, 4, 4]);
    expect(description.refused).toEqual([]);
    expect(description.migration).toMatchObject({ flags: 7n, state: 2, dataSize: 96n });
    expect(description.server).toMatchObject({ kernel: { name: UUID, group: 0, way: 'group' } });
    expect(kernel.calls.some((call) => call.endsWith('0x3b6f'))).toBe(false);
  });
});

describe('interrupts', () => {
  it.each([
    ['eventfds', { eventfds: [5, null, 6] }, 'trigger', [0x24, 3, '05000000ffffffff06000000']],
    ['eventfds that unmask', { eventfds: [7] }, 'unmask', [0x14, 1, '07000000']],
    ['chosen vectors', { chosen: [true, false, true] }, 'mask', [0x0a, 3, '010001']],
    ['chosen vectors to trigger', { chosen: [true] }, 'trigger', [0x22, 1, '01']],
    ['a range', { count: 2 }, 'unmask', [0x11, 2, '']],
    ['a range to trigger', { count: 1 }, 'trigger', [0x21, 1, '']],
    ['none: switch off', { count: 0 }, 'trigger', [0x21, 0, '']],
  ] as const)('are set in every form: %s', async (_, data, action, [flags, count, content]) => {
    const { device, fake } = await opened();
    device.interrupts.set(1, 0, action, data);
    expect(fake.irqs).toEqual([[flags, 1, 0, count, content]]);
  });

  it.each([{ eventfds: [] }, { chosen: [] }, { chosen: new Array(2049).fill(true) }])(
    'are not set for no vectors, nor for more than there can be',
    async (data) => {
      const { device, fake } = await opened();
      expect(() => device.interrupts.set(1, 0, 'trigger', data)).toThrow('vectors');
      expect(fake.irqs).toEqual([]);
    },
  );

  it('that a driver refuses leave no eventfd behind', async () => {
    const { device, kernel } = await opened();
    const before = kernel.files.size;
    expect(() => device.interrupts.listen(2, 4, () => {})).toThrow('EINVAL');
    expect(kernel.files.size).toBe(before);
    device.interrupts.listen(1, 4, () => {});
    expect(kernel.files.size).toBe(before + 4);
    device.close();
    expect(kernel.files.size).toBe(0);
  });
});

describe('a driver of v1', () => {
  it('is migrated through its region, as a server would be', async () => {
    const kernel = new FakeKernel();
    const ends = [UUID, UUID.replace('1001', '1002')].map((name) => {
      const fake = kernel.add(name, { flags: null });
      const registers = new V1Registers();
      fake.regions.set(9, {
        ...registers.region,
        kind: { type: V1_REGION_TYPE, subtype: V1_REGION_SUBTYPE },
      });
      return { name, registers };
    });
    const [a, b] = ends;
    if (a === undefined || b === undefined) throw new Error('no ends');
    a.registers.state = Buffer.from('the state of a device of v1, in pieces');
    const where = { system: kernel, sysfs: kernel.sysfs };
    const [from, to] = [await KernelDevice.open(a.name, where), await KernelDevice.open(b.name, where)];
    const source = await deviceEnd(from);
    await migrate(source, await deviceEnd(to, source));
    expect(Buffer.from(b.registers.state).toString()).toBe('the state of a device of v1, in pieces');
    expect([a.registers.deviceState, b.registers.deviceState]).toEqual([0, 1]);
    expect((await from.describe()).migration).toMatchObject({
      flags: null,
      v1: { region: 9, deviceState: 0 },
    });
  });
});
