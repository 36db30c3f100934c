import { describe, expect, it } from 'vitest';
import { examine, type VmSide } from '../../src/vm/examine.ts';
import { FakeVm } from './fake-vm.ts';

const ECAM = 0xb000_0000n;
const DISK = { id: null, socketPath: '/run/a.sock', able: true };

/** A VM that can be moved, but for what a test changes. */
function machine(side: VmSide, changes: Readonly<Record<string, unknown>> = {}): FakeVm {
  const types: Readonly<Record<string, string>> = {
    '/machine': 'pc-q35-11.1-machine',
    '/objects/mem': 'memory-backend-memfd',
  };
  const vm = new FakeVm({
    'query-version': { qemu: { major: 11, minor: 1, micro: 3 } },
    'query-status':
      side === 'source' ? { status: 'running', running: true } : { status: 'inmigrate', running: false },
    'query-cpus-fast': [{}, {}],
    'query-memory-size-summary': { 'base-memory': 256 },
    'query-memdev': [{ id: 'mem', share: true, size: 256 }],
    'query-migrate': {},
    'query-migrate-capabilities': [{ capability: 'multifd', state: false }],
    'qom-get': ({ path, property }: { path: string; property: string }) =>
      property === 'type' ? types[path] : property === 'addr' ? '10.0' : '/machine/q35/pcie.0',
    'qom-list': ({ path }: { path: string }) => {
      if (path === '/machine/peripheral') return [{ name: 'd0', type: 'child<vfio-user-pci>' }];
      if (path === '/machine/peripheral/d0')
        return [{ name: 'vfio-user:/run/a.sock BAR 0[0]', type: 'child<memory-region>' }];
      return [];
    },
    ...changes,
  });
  const bridge = new Uint8Array(256);
  new DataView(bridge.buffer).setUint32(0, 0x29c0_8086, true);
  new DataView(bridge.buffer).setBigUint64(0x60, ECAM | 1n, true);
  if (side === 'source') vm.memory.set(ECAM, bridge);
  vm.memory.set(0n, new Uint8Array(16));
  return vm;
}

const reasons = (
  side: VmSide,
  changes: Readonly<Record<string, unknown>> = {},
  named: Parameters<typeof examine>[1] = [DISK],
) => machine(side, changes).run(examine(side, named)).reasons;

describe('a VM that can be moved', () => {
  it.each(['source', 'destination'] as const)(
    'has nothing against it as %s, and nothing is changed',
    (side) => {
      const vm = machine(side);
      const found = vm.run(examine(side, [DISK]));
      expect(found).toMatchObject({ reasons: [], devices: [{ id: 'd0', place: 'pcie.0/10.0' }] });
      expect(found.machine).toMatchObject({ type: 'pc-q35-11.1', version: [11, 1, 3], cpus: 2, memory: 256 });
      expect(vm.commands.filter((command) => !/^(query|qom)-/.test(command))).toEqual([]);
      expect(vm.writes).toEqual([]);
    },
  );

  it('may name its devices itself', () => {
    expect(reasons('source', {}, [{ id: 'd0', socketPath: '/elsewhere', able: true }])).toEqual([]);
  });
});

describe('a VM that can not be moved', () => {
  const list = (type: string) => ({
    'qom-list': ({ path }: { path: string }) =>
      path === '/machine/unattached' ? [{ name: 'x', type: `child<${type}>` }] : [],
  });
  it.each<[string, VmSide, Record<string, unknown>, RegExp]>([
    [
      'an old QEMU',
      'source',
      { 'query-version': { qemu: { major: 10, minor: 0, micro: 5 } } },
      /10\.0\.5 is too old/,
    ],
    ['another machine', 'source', { 'qom-get': () => 'pc-i440fx-11.1-machine' }, /only q35/],
    ['private memory', 'source', { 'query-memdev': [{ id: 'mem', share: false }] }, /share=on/],
    ['an IOMMU of the guest', 'source', list('intel-iommu'), /intel-iommu/],
    [
      'a device that QEMU does not migrate',
      'source',
      { 'query-migrate': { 'blocked-reasons': ['no'] } },
      /does not migrate it: no/,
    ],
    [
      'multifd',
      'source',
      { 'query-migrate-capabilities': [{ capability: 'multifd', state: true }] },
      /multifd is on/,
    ],
    ['a guest that is paused', 'source', { 'query-status': { status: 'paused' } }, /paused: it has to run/],
    ['a migration under way', 'source', { 'query-migrate': { status: 'active' } }, /under way already/],
    ['a destination that runs', 'destination', { 'query-status': { status: 'running' } }, /-incoming defer/],
    [
      'a destination that waits elsewhere',
      'destination',
      { 'query-migrate': { status: 'setup' } },
      /waits for a VM already/,
    ],
  ])('has %s', (_, side, changes, why) => {
    expect(reasons(side, changes).join('; ')).toMatch(why);
  });

  it('is not connected to by its gdb stub when it runs, which would stop it', () => {
    const vm = machine('destination', { 'query-status': { status: 'running', running: true } });
    // Nothing answers there: that would be told.
    vm.memory.clear();
    expect(vm.run(examine('destination', [DISK])).reasons).toEqual([
      expect.stringMatching(/-incoming defer/),
    ]);
    expect(vm.reads).toBe(0);
  });

  it('may have the way back on when it only passes to another QEMU', () => {
    const on = { 'query-migrate-capabilities': [{ capability: 'return-path', state: true }] };
    expect(reasons('upgrade', on).join()).not.toMatch(/return-path/);
    expect(reasons('source', on).join()).toMatch(/return-path is on/);
  });

  it('has a device that was not named, and would be lost', () => {
    expect(reasons('source', {}, [])).toEqual([
      'd0 (/run/a.sock) is not among the devices that were named, and QEMU would lose it: name it too',
    ]);
  });

  it('has no device of the name that was given', () => {
    expect(reasons('source', {}, [DISK, { id: 'nic', socketPath: '/x', able: true }])).toEqual([
      'it has no vfio-user device nic: name it as ID@PATH, ID being what its -device says',
    ]);
  });

  it('has a device of a foreign server', () => {
    expect(reasons('source', {}, [{ ...DISK, able: false }]).join()).toMatch(/not one of ferry serve/);
  });

  it('has a guest whose firmware has not run', () => {
    const vm = machine('source');
    for (const base of [ECAM, 0xe000_0000n]) vm.memory.set(base, new Uint8Array(256));
    expect(vm.run(examine('source', [DISK])).reasons.join()).toMatch(/has to have been booted/);
  });

  it('has a monitor whose files can not be read', () => {
    const vm = machine('source');
    vm.memory.delete(ECAM);
    expect(vm.run(examine('source', [DISK])).reasons.join()).toMatch(/--scratch/);
  });
});
