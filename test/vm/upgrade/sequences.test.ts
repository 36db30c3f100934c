import { describe, expect, it } from 'vitest';
import {
  goBack,
  prepareUpgrade,
  readSettings,
  setUpUpgraded,
  standStill,
} from '../../../src/vm/upgrade/sequences.ts';
import { FakeVm } from '../fake-vm.ts';
import { configSpace, msixTable } from '../pci-bytes.ts';

const ECAM = { base: 0xb000_0000n, hostBridge: 0x29c0_8086 };
const PLACE = ECAM.base + (0x10n << 15n);
const MSIX = { control: 0x8001, table: 0, pba: 0x800 };
const SETTINGS = { mode: 'normal', capabilities: [{ capability: 'events', state: false }] };
const BEFORE = { settings: SETTINGS, policies: ['reset'] } as const;
const WAITS = { patienceMs: 0, timeoutMs: 50 };

/** A machine whose firmware has run, with one device as after a reset. */
function machine(own: Uint8Array): FakeVm {
  const vm = new FakeVm({
    'query-pci': [{ bus: 0, devices: [{ bus: 0, slot: 0x10, function: 0, qdev_id: 'd0' }] }],
    'query-migrate': { status: 'failed' },
    'query-migrate-parameters': { mode: 'normal' },
    'query-migrate-capabilities': [{ capability: 'return-path', state: false }],
    'query-status': { running: true },
  });
  const bridge = new Uint8Array(256);
  new DataView(bridge.buffer).setUint32(0, ECAM.hostBridge, true);
  new DataView(bridge.buffer).setBigUint64(0x60, ECAM.base | 1n, true);
  vm.memory.set(ECAM.base, bridge);
  vm.memory.set(PLACE, own);
  vm.memory.set(0xfe00_0000n, msixTable(2, {}));
  return vm;
}

describe('an upgrade', () => {
  it('has the servers keep their states before anything else', () => {
    const vm = machine(configSpace());
    expect(vm.run(readSettings())).toEqual({
      mode: 'normal',
      capabilities: [
        { capability: 'events', state: false },
        { capability: 'return-path', state: false },
      ],
    });
    expect(vm.asked).toEqual([]);
    vm.run(prepareUpgrade(['d0']));
    expect(vm.asked).toEqual(['keep 0']);
    expect(vm.commands.at(-1)).toBe('migrate-set-parameters {"mode":"cpr-transfer"}');
  });

  it('stops the VM, and its devices when it has read what QEMU alone keeps', () => {
    const config = configSpace({ command: 6, bars: { 0: 0xfe00_0000 }, msix: MSIX });
    const vm = machine(config);
    vm.configuration = config;
    const record = vm.run(standStill(['d0'], ECAM, ['server'], []));
    expect(record.devices).toMatchObject([{ slot: 0x10, config, msixTable: msixTable(2, {}) }]);
    expect(vm.asked).toEqual(['STOP 0']);
    expect(vm.commands[0]).toBe('stop');
    expect(vm.commands.at(-1)).toBe('query-status');
  });

  it.each([
    ['turns MSI-X on and off again for INTx', 0x0001, [0x8001, 0x0001]],
    ['turns MSI-X on once that was on', 0x8001, [0x8001]],
  ])('%s', (_, control, values) => {
    const config = configSpace({ command: 6, bars: { 0: 0xfe00_0000 }, msix: { ...MSIX, control } });
    const vm = machine(configSpace({ msix: { ...MSIX, control: 1 } }));
    const device = { bus: 0, slot: 0x10, function: 0, config, msixTable: msixTable(2, {}) };
    vm.run(setUpUpgraded({ ecam: ECAM.base, hostBridge: ECAM.hostBridge, devices: [device] }));
    expect([...(vm.memory.get(PLACE) ?? [])]).toEqual([...config]);
    const toggled = vm.writes.filter(({ address }) => address === PLACE + 0x42n).map(({ bytes }) => bytes);
    expect(toggled.map((bytes) => Buffer.from(bytes).readUInt16LE())).toEqual(values);
    expect(vm.detached).toBe(1);
  });
});

describe('the way back', () => {
  it('has the devices run, and then the VM, with QEMU as it was', () => {
    const vm = machine(configSpace());
    expect(vm.run(goBack(BEFORE, WAITS))).toBe(true);
    expect(vm.asked).toEqual(['RUNNING 0', 'reset 0']);
    expect(vm.commands).toContain('migrate-set-parameters {"mode":"normal"}');
    expect(vm.commands).toContain('cont');
  });

  it('is closed when another QEMU has taken a device', () => {
    const vm = machine(configSpace());
    const kept = { sinceMs: 0, returned: true, withheldResets: 0, configuration: configSpace() };
    vm.kept = () => ({ kept });
    expect(vm.run(goBack(BEFORE, WAITS))).toBe(false);
    expect(vm.asked).toEqual([]);
    expect(vm.commands).not.toContain('cont');
  });

  it('ends a migration that is under way', () => {
    const vm = machine(configSpace());
    let status = 'active';
    vm.answers.set('query-migrate', () => ({ status }));
    vm.answers.set('migrate_cancel', () => {
      status = 'cancelled';
      return {};
    });
    expect(vm.run(goBack(BEFORE, WAITS))).toBe(true);
  });
});
