import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { closingNotes, lastingName, openDevice } from '../../../src/cli/access/device-access.ts';
import { descriptionJson } from '../../../src/cli/inspect/description-json.ts';
import { describeDevice } from '../../../src/cli/inspect/description-text.ts';
import { deviceSpec } from '../../../src/cli/serve/device-spec.ts';
import { KernelDevice } from '../../../src/kernel/index.ts';
import type { FakeDriverOptions } from '../../kernel/fake-driver.ts';
import { FakeKernel } from '../../kernel/fake-kernel.ts';
import { PCI, UUID } from '../../kernel/opened.ts';

async function opened(name: string, options: FakeDriverOptions = {}): Promise<KernelDevice> {
  const kernel = new FakeKernel();
  kernel.add(name, options);
  return KernelDevice.open(name, { system: kernel, sysfs: kernel.sysfs });
}

describe('a device of the kernel', () => {
  it('is shown as one that is served, with what can not be hidden', async () => {
    const lines = describeDevice(await (await opened(UUID, { tellsSize: false })).describe());
    expect(lines.map((line) => line.trim())).toEqual(
      expect.arrayContaining([
        'state RUNNING',
        'STOP_COPY P2P PRE_COPY',
        'driver vfio_mdev, on mdev',
        'IOMMU group 0; reached by its group and a container',
        'its driver does not say that it can be reset',
        'it does not tell how much state it has',
      ]),
    );
  });

  it('agrees on nothing', async () => {
    const json = descriptionJson(await (await opened(UUID)).describe());
    expect(json).toMatchObject({ agreement: null, server: { kernel: { name: UUID, bus: 'mdev' } } });
  });

  it('that forgets when it is closed is said to', async () => {
    expect(closingNotes([await opened(UUID)])).toEqual([]);
    expect(closingNotes([await opened(PCI)])).toEqual([expect.stringContaining(`ferry serve kernel:${PCI}`)]);
  });

  it('has a name that lasts, which a path in a folder has not', () => {
    expect(lastingName(UUID)).toBe(UUID);
    expect(lastingName('a.sock')).toBe(resolve('a.sock'));
  });

  it('that is not there is no socket that is not there', async () => {
    await expect(openDevice('ffff:1f:1f.7')).rejects.toMatchObject({ code: 'ERR_KERNEL_NO_DEVICE' });
    await expect(openDevice('/nowhere/a.sock')).rejects.toMatchObject({ code: 'ERR_SOCKET' });
  });

  it('is served by its name, with no options of others', () => {
    expect(deviceSpec(`kernel:${PCI}`, {})).toEqual({ kind: 'kernel', name: `kernel:${PCI}`, map: false });
    expect(deviceSpec(UUID, { mapBars: true })).toMatchObject({ kind: 'kernel', map: true });
    expect(() => deviceSpec(UUID, { ram: 1 })).toThrow('--ram');
    expect(() => deviceSpec(UUID, { dedicated: true })).toThrow('--dedicated');
    expect(() => deviceSpec('edu', { mapBars: true })).toThrow('--map-bars');
  });
});
