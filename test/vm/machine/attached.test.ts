import { describe, expect, it } from 'vitest';
import { countAnonymous, readAttached, readPciAddresses } from '../../../src/vm/machine/attached.ts';
import { FakeVm } from '../fake-vm.ts';

/** As QEMU 11.1.3 answers: a disk behind a port, and a device that is none of ours. */
const TREE: Readonly<Record<string, readonly object[]>> = {
  '/machine/peripheral': [
    { name: 'type', type: 'string' },
    { name: 'p5', type: 'child<pcie-root-port>' },
    { name: 'd0', type: 'child<vfio-user-pci>' },
  ],
  '/machine/peripheral-anon': [{ name: 'device[0]', type: 'child<vfio-user-pci>' }],
  '/machine/peripheral/d0': [
    { name: 'socket', type: 'SocketAddress' },
    { name: 'vfio-user:\\x2ftmp\\x2fvmx\\x2fa.sock base BAR 0[0]', type: 'child<memory-region>' },
    { name: 'vfio-user:\\x2ftmp\\x2fvmx\\x2fa.sock BAR 0[0]', type: 'child<memory-region>' },
  ],
};
const PROPERTIES: Readonly<Record<string, string>> = {
  '/machine/peripheral/d0 addr': '00.0',
  '/machine/peripheral/d0 parent_bus': '/machine/peripheral/p5/p5',
  '/machine/peripheral/p5 addr': '05.0',
  '/machine/peripheral/p5 parent_bus': '/machine/q35/pcie.0',
};
const PCI = [
  {
    bus: 0,
    devices: [
      { bus: 0, slot: 0, function: 0, qdev_id: '' },
      {
        ...{ bus: 0, slot: 5, function: 0, qdev_id: 'p5' },
        pci_bridge: { devices: [{ bus: 1, slot: 0, function: 0, qdev_id: 'd0' }] },
      },
    ],
  },
];

function machine(tree: Readonly<Record<string, readonly object[]>> = TREE): FakeVm {
  return new FakeVm({
    'qom-list': ({ path }: { path: string }) => tree[path] ?? [],
    'qom-get': ({ path, property }: { path: string; property: string }) => PROPERTIES[`${path} ${property}`],
    'query-pci': PCI,
  });
}

describe('the vfio-user devices of a VM', () => {
  it('are found with their servers and the way to them', () => {
    expect(machine().run(readAttached())).toEqual([
      { id: 'd0', socketPath: '/tmp/vmx/a.sock', place: 'pcie.0/05.0/00.0' },
    ]);
  });

  it('may not tell where their servers are', () => {
    const silent = { ...TREE, '/machine/peripheral/d0': [] };
    expect(machine(silent).run(readAttached())).toMatchObject([{ id: 'd0', socketPath: null }]);
  });

  it('without a name are counted', () => {
    expect(machine().run(countAnonymous())).toBe(1);
  });

  it('have the addresses that the guest has given to their buses', () => {
    const found = machine().run(readPciAddresses());
    expect(found.get('d0')).toEqual({ bus: 1, slot: 0, function: 0 });
    expect(found.has('')).toBe(false);
  });

  it('are none when QEMU answers nonsense', () => {
    const vm = new FakeVm({
      'qom-list': 'x',
      'query-pci': [{ devices: [{ qdev_id: 'd', bus: -1 }, null, 3] }],
    });
    expect(vm.run(readAttached())).toEqual([]);
    expect(vm.run(readPciAddresses()).size).toBe(0);
  });
});
