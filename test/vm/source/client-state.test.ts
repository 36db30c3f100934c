import { describe, expect, it } from 'vitest';
import { compareViews, readClientState } from '../../../src/vm/source/client-state.ts';
import { FakeVm } from '../fake-vm.ts';
import { configSpace, msixTable } from '../pci-bytes.ts';

const ECAM = { base: 0xb000_0000n, hostBridge: 0x29c0_8086 };
const PLACE = ECAM.base + (0x10n << 15n);
const MSIX = { control: 0x8001, table: 0, pba: 0x800 };
const SET = { command: 0x0406, bars: { 0: 0xfe00_0000 }, line: 11, msix: MSIX };
const config = configSpace(SET);
const table = msixTable(2, { 0: [0xfee0_0000, 0, 0x4021, 0] });

/** A VM of one device, whose server sees `view`. */
function machine(view: Uint8Array = config): FakeVm {
  const vm = new FakeVm({
    'query-pci': [{ bus: 0, devices: [{ bus: 0, slot: 0x10, function: 0, qdev_id: 'd0' }] }],
  });
  vm.memory.set(PLACE, config);
  vm.memory.set(0xfe00_0000n, table);
  vm.configuration = view;
  return vm;
}

describe('the views of QEMU and of a server', () => {
  it.each([
    ['agree', config, 'server'],
    ['agree when they differ in what is not set up', Uint8Array.from(config).fill(7, 0x90), 'server'],
    ['do not agree on a BAR', configSpace({ ...SET, bars: { 0: 0xfd00_0000 } }), 'vmm'],
    ['do not agree on MSI-X', configSpace({ ...SET, msix: { ...MSIX, control: 1 } }), 'vmm'],
    ['are of two devices', Uint8Array.from(config).fill(1, 0, 4), 'vmm'],
    ['are of devices with other capabilities', configSpace({ ...SET, power: 0 }), 'vmm'],
  ])('%s', (_, view, asked) => {
    expect(machine(view).run(compareViews(ECAM, ['d0']))).toEqual([asked]);
  });
});

describe('what QEMU keeps of a device', () => {
  it('is read of its server when they agree, behind the writes that the guest has posted', () => {
    const vm = machine();
    const { devices } = vm.run(readClientState(ECAM, ['d0'], ['server']));
    expect(devices).toEqual([{ bus: 0, slot: 0x10, function: 0, config, msixTable: table }]);
    const pass = { val: Number(PLACE), size: 4, filename: '/dev/null' };
    expect(vm.commands).toContain(`pmemsave ${JSON.stringify(pass)}`);
  });

  it('is read through QEMU when they do not', () => {
    const vm = machine(new Uint8Array(256));
    const { devices } = vm.run(readClientState(ECAM, ['d0'], []));
    expect(devices).toEqual([{ bus: 0, slot: 0x10, function: 0, config, msixTable: table }]);
    expect(vm.commands).toEqual(['query-pci']);
  });

  it('is what it was when QEMU was cut off from the server, which is not asked any more', () => {
    const vm = machine(new Uint8Array(256));
    vm.memory.delete(PLACE);
    const { devices } = vm.run(readClientState(ECAM, ['d0'], [config]));
    expect(devices).toEqual([{ bus: 0, slot: 0x10, function: 0, config, msixTable: table }]);
    expect(vm.commands).toEqual(['query-pci']);
  });

  it('is not there for a device that is on no bus', () => {
    expect(() => machine().run(readClientState(ECAM, ['d1'], ['server']))).toThrow(
      'd1 is on no bus of the VM',
    );
  });

  it('can not be read whole when MSI-X is on and its BAR is off', () => {
    const vm = machine(configSpace({ ...SET, command: 0 }));
    expect(() => vm.run(readClientState(ECAM, ['d0'], ['server']))).toThrow(
      /MSI-X table of d0 can't be read/,
    );
  });
});
