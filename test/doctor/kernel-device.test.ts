import { afterEach, describe, expect, it } from 'vitest';
import type { KernelProber } from '../../src/doctor/gather/kernel-device.ts';
import { diagnose, KERNEL_DEVICE_RULES } from '../../src/doctor/index.ts';
import { Errno, type RefusalError } from '../../src/errors/index.ts';
import { KernelError, probeKernelDevice } from '../../src/kernel/index.ts';
import { FakeKernel } from '../kernel/fake-kernel.ts';
import { FakeHost, pciDevice, READY, type Tree } from './fake-host.ts';

const VF = '0000:01:00.2';
const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
const RUNNING = { [`sys/kernel/debug/vfio/${VF}/migration/state`]: 'RUNNING' };
const movable: Tree = { ...READY, ...pciDevice(VF, { driver: 'mlx5_vfio_pci' }), ...RUNNING };

let host: FakeHost | null = null;
afterEach(() => {
  host?.close();
  host = null;
});

function look(tree: Tree, what: string | undefined = VF, caller?: { uid: number; gids: number[] }) {
  host = new FakeHost(tree, caller);
  return diagnose(what, { host, connect: false });
}

/** What opening a device comes to. */
function asked(flags: bigint | null, dmaLogging = true, refused: RefusalError | null = null): KernelProber {
  const place = {
    name: VF,
    bus: 'pci',
    folder: '',
    driver: null,
    group: 7,
    groupMembers: [],
    file: null,
  } as const;
  const more = {
    driver: null,
    group: 7,
    groupFlags: 1,
    groupMembers: [],
    way: 'group',
    limits: ['a limit'],
  } as const;
  const report = refused === null ? { name: VF, bus: 'pci', dmaLogging, ...more } : null;
  return async () => ({ place, refused, report, flags, state: flags === null ? null : 2 });
}

/** The same as {@link look}, but the device is opened. */
function open(tree: Tree, probe: KernelProber) {
  host = new FakeHost(tree);
  return diagnose(VF, { host, probe });
}

/** A tree without what begins with one of these. */
function without(tree: Tree, ...starts: readonly string[]): Tree {
  return Object.fromEntries(
    Object.entries(tree).filter(([path]) => !starts.some((start) => path.startsWith(start))),
  );
}

const qemu = (name: string, ...args: readonly string[]): Tree => ({
  'proc/200/comm': 'qemu-system-x86',
  'proc/200/cmdline': ['qemu-system-x86_64', '-device', `vfio-pci,host=${name}`, ...args].join('\0'),
  'proc/200/fd/9': '-> /dev/vfio/7',
});
const mdev: Tree = {
  ...READY,
  [`sys/devices/virtual/mtty/mtty/${UUID}/driver`]: '-> ../../../../../bus/mdev/drivers/mtty',
  [`sys/devices/virtual/mtty/mtty/${UUID}/iommu_group`]: '-> ../../../../../kernel/iommu_groups/0',
  [`sys/bus/mdev/devices/${UUID}`]: `-> ../../../devices/virtual/mtty/mtty/${UUID}`,
  [`sys/kernel/iommu_groups/0/devices/${UUID}`]: '',
  // What Linux calls every group that it makes up, also those of mediated devices.
  'sys/kernel/iommu_groups/0/name': 'vfio-noiommu',
  'dev/vfio/0': '',
  'sys/class/mdev_bus/mtty': '',
  [`sys/kernel/debug/vfio/${UUID}/migration/state`]: 'RUNNING',
};
const config = (text: string): Tree => ({ 'boot/config-6.12.0-test': text });
const full = READY['boot/config-6.12.0-test'] ?? '';

/** A machine, and exactly what is found of its device. */
const cases: readonly (readonly [id: string, tree: Tree, also?: readonly string[]])[] = [
  ['no-such-device', READY],
  ['no-iommu-group', without(movable, `sys/bus/pci/devices/${VF}/iommu_group`)],
  [
    'no-iommu-mode',
    { ...movable, 'sys/kernel/iommu_groups/7/name': 'vfio-noiommu', 'dev/vfio/noiommu-7': '' },
  ],
  ['not-bound-to-vfio', { ...READY, ...pciDevice(VF, { driver: 'mlx5_core' }) }],
  ['not-bound-to-vfio', { ...READY, ...pciDevice(VF, {}) }],
  ['group-not-viable', { ...movable, ...pciDevice('0000:01:00.3', { driver: 'e1000e' }) }],
  ['in-use', { ...movable, ...qemu(VF) }],
  ['group-node', without(movable, 'dev/vfio/7')],
  ['generic-driver', { ...READY, ...pciDevice(VF, { driver: 'vfio-pci' }) }],
  [
    'driver-not-built',
    {
      ...READY,
      ...pciDevice(VF, { driver: 'vfio-pci' }),
      ...config(full.replace('CONFIG_MLX5_VFIO_PCI=m', '')),
      'lib/modules/6.12.0-test/modules.dep': 'kernel/drivers/vfio/vfio.ko:',
      'lib/modules/6.12.0-test/modules.alias': 'alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci',
    },
  ],
  ['no-driver-exists', { ...READY, ...pciDevice(VF, { id: '0x8086:0x10fb', driver: 'vfio-pci' }) }],
  [
    'physical-function',
    {
      ...READY,
      ...pciDevice(VF, { driver: 'vfio-pci', physfn: false }),
      [`sys/bus/pci/devices/${VF}/sriov_totalvfs`]: '8',
    },
    ['generic-driver'],
  ],
  ['driver-offers-none', without(movable, 'sys/kernel/debug/vfio/0000'), ['driver-needs']],
  ['driver-needs', without(movable, 'sys/kernel/debug')],
  [
    'kernel-no-p2p',
    { ...READY, ...RUNNING, ...pciDevice(VF, { id: '0x19e5:0xa251', driver: 'hisi_acc_vfio_pci' }) },
  ],
  ['kernel-state', { ...movable, [`sys/kernel/debug/vfio/${VF}/migration/state`]: 'RESUMING' }],
  ['no-dirty-tracking', { ...movable, ...config(full.replace('CONFIG_IOMMUFD_DRIVER=y', '')) }],
  ['qemu-migration-off', { ...movable, ...qemu(`${VF},enable-migration=off`) }, ['in-use']],
  ['qemu-viommu', { ...movable, ...qemu(VF, '-device', 'intel-iommu') }, ['in-use']],
  ['qemu-needs-tracking', { ...movable, ...config(full.replace('CONFIG_IOMMUFD=m', '')) }],
  [
    'vfio-not-built',
    { ...without(movable, 'sys/module', 'lib/'), ...config(full.replace('CONFIG_VFIO=m', '')) },
  ],
  ['vfio-not-loaded', without(movable, 'sys/module')],
  ['vfio-unknown', without(movable, 'sys/module', 'boot', 'lib')],
  ['iommu-type1-not-loaded', without(movable, 'sys/module/vfio_iommu_type1', 'dev/iommu'), ['no-iommufd']],
  ['container-node', without(movable, 'dev/vfio/vfio')],
  [
    'iommu-off',
    without(movable, 'sys/class/iommu', 'sys/kernel/iommu_groups', `sys/bus/pci/devices/${VF}/iommu_group`),
    ['no-iommu-group'],
  ],
  ['no-iommufd', without(movable, 'dev/iommu')],
];

describe('a device of the kernel', () => {
  it('with its variant driver bound has nothing wrong with it', async () => {
    const { findings, migratable, seen } = await look(movable);
    expect(findings).toEqual([]);
    expect(migratable).toBe(true);
    expect(seen).toContainEqual({ what: 'migration', is: 'offered; RUNNING' });
  });

  it.each(cases.map(([id, tree, also = []]) => [id, tree, also] as const))('%s', async (id, tree, also) => {
    const { findings } = await look(tree);
    expect(findings.map((each) => each.id).sort()).toEqual([id, ...also].sort());
    for (const { finding, why, next } of findings)
      expect(`${finding}${why}${next.join()}`).not.toMatch(/undefined|NaN/);
  });

  it('is tried for every rule', () => {
    // Root may lock all memory, so one needs another caller; the others are about a device that was opened.
    const opened = ['open-refused', 'migration-not-offered', 'device-logs-nothing'];
    const tried = new Set([...cases.map(([id]) => id), 'mlock-limit', ...opened]);
    expect(new Set(KERNEL_DEVICE_RULES.map(({ id }) => id))).toEqual(tried);
  });

  it('is opened when nobody has it, and asked what it offers', async () => {
    const { findings, seen, notLooked } = await open(movable, asked(7n));
    expect(findings).toEqual([]);
    expect(notLooked).toEqual([]);
    expect(seen).toContainEqual({ what: 'migration', is: 'offered (STOP_COPY, P2P, PRE_COPY); RUNNING' });
    expect(seen).toContainEqual({ what: 'limit', is: 'a limit' });
  });

  it.each([
    ['migration-not-offered', asked(null)],
    ['device-logs-nothing', asked(3n, false)],
    ['open-refused', asked(null, true, new KernelError('ERR_KERNEL_BUSY', 'another has it', Errno.EBUSY))],
  ])('that was opened: %s', async (id, probe) => {
    const { findings } = await open(movable, probe);
    expect(findings.map((each) => each.id)).toEqual([id]);
    expect(findings[0]?.next.length).toBeGreaterThan(0);
  });

  it('is not opened while another process has it', async () => {
    const { notLooked } = await open({ ...movable, ...qemu(VF) }, () =>
      Promise.reject(new Error('it was opened')),
    );
    expect(notLooked).toContainEqual({
      what: 'the device itself',
      why: 'another process has it open, and must not be disturbed',
    });
  });

  it('is asked through the client for such devices', async () => {
    const kernel = new FakeKernel({});
    kernel.add(UUID, {});
    host = new FakeHost(mdev);
    const probe: KernelProber = (name) => probeKernelDevice(name, { system: kernel, sysfs: kernel.sysfs });
    const { seen } = await diagnose(UUID, { host, probe });
    expect(seen).toContainEqual({ what: 'migration', is: 'offered (STOP_COPY, P2P, PRE_COPY); RUNNING' });
  });

  it('may be out of reach of an account', async () => {
    const { findings } = await look(movable, VF, { uid: 7, gids: [7] });
    expect(findings.map(({ id }) => id)).toEqual(['group-node', 'container-node', 'mlock-limit']);
  });

  it('is told the cause of what QEMU says of it, and how to bind the driver', async () => {
    const { findings } = await look({ ...READY, ...pciDevice(VF, { driver: 'vfio-pci' }) });
    expect(findings[0]).toMatchObject({
      finding: `${VF} is bound to vfio-pci; mlx5_vfio_pci is made for it`,
      why: expect.stringContaining('VFIO migration is not supported in kernel'),
      next: expect.arrayContaining([
        'modprobe mlx5_vfio_pci',
        `echo mlx5_vfio_pci > /sys/bus/pci/devices/${VF}/driver_override`,
      ]),
    });
  });

  it('is not said to have a file of its own that the kernel does not make, though sysfs names one', async () => {
    const { seen } = await look({ ...movable, [`sys/bus/pci/devices/${VF}/vfio-dev/vfio3/dev`]: '511:3' });
    expect(seen.map(({ what }) => what).filter((what) => what.includes('vfio3'))).toEqual([]);
  });

  it('can be a mediated device', async () => {
    const { findings, seen } = await look(mdev, UUID);
    expect(findings).toEqual([]);
    expect(seen).toEqual(
      expect.arrayContaining([
        { what: 'part of', is: 'mtty' },
        { what: 'driver', is: 'mtty' },
      ]),
    );
  });
});

describe('a machine', () => {
  it('with nothing has something wrong, and says what it could not see', async () => {
    host = new FakeHost({ 'proc/cmdline': '' });
    const { findings, notLooked, migratable } = await diagnose(undefined, { host });
    expect(findings.map(({ id }) => id)).toEqual(['iommu-off', 'no-iommufd', 'vfio-unknown']);
    expect(notLooked.map(({ what }) => what)).toEqual([
      'how the kernel was built',
      'which modules can be loaded',
    ]);
    expect(migratable).toBe(false);
  });

  it('knows which devices VFIO could take', async () => {
    host = new FakeHost({ ...READY, ...pciDevice(VF, { driver: 'mlx5_core' }) });
    const { findings, seen } = await diagnose(undefined, { host });
    expect(findings).toEqual([]);
    expect(seen).toContainEqual({ what: VF, is: 'mlx5_core; mlx5_vfio_pci would offer migration' });
  });
});
