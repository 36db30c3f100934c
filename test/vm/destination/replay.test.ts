import { describe, expect, it } from 'vitest';
import { replay } from '../../../src/vm/destination/replay.ts';
import { FakeVm } from '../fake-vm.ts';
import { configSpace, msixTable } from '../pci-bytes.ts';

const ECAM = 0xb000_0000n;
const PLACE = ECAM + (1n << 20n);
const TABLE = 0xfe01_0000n;
const MSIX = { control: 0x8001, table: 0x2, pba: 0x802 };
const config = configSpace({ command: 0x0406, bars: { 2: 0xfe01_0000 }, line: 11, msix: MSIX });
const table = msixTable(2, { 0: [0xfee0_0000, 0, 0x4021, 0], 1: [0xfee0_1000, 0, 0x4022, 0] });
const record = {
  ecam: ECAM,
  hostBridge: 0x29c0_8086,
  devices: [{ bus: 1, slot: 0, function: 0, config, msixTable: table }],
};

/** A machine whose firmware has run, with the device as after a reset. */
function machine(): FakeVm {
  const vm = new FakeVm();
  const bridge = new Uint8Array(4096);
  const view = new DataView(bridge.buffer);
  view.setUint32(0, 0x29c0_8086, true);
  view.setBigUint64(0x60, ECAM | 1n, true);
  vm.memory.set(ECAM, bridge);
  vm.memory.set(PLACE, configSpace({ msix: { ...MSIX, control: 1 } }));
  vm.memory.set(TABLE, msixTable(2, {}));
  return vm;
}

describe('the registers of a device at the destination', () => {
  it('become what they were at the source', () => {
    const vm = machine();
    expect(vm.run(replay(record)).writes).toBeGreaterThan(4);
    expect([...(vm.memory.get(PLACE) ?? [])]).toEqual([...config]);
    expect([...(vm.memory.get(TABLE) ?? [])]).toEqual([...table]);
    expect(vm.detached).toBe(1);
  });

  it('are not touched when configuration space is elsewhere', () => {
    const vm = machine();
    new DataView(vm.memory.get(ECAM)?.buffer ?? new ArrayBuffer(256)).setBigUint64(0x60, 0xe000_0001n, true);
    expect(() => vm.run(replay(record))).toThrow(expect.objectContaining({ code: 'ERR_VM_REPLAY' }));
    expect(vm.writes).toEqual([]);
  });

  it('are not touched when it is another machine', () => {
    const vm = machine();
    vm.memory.get(ECAM)?.set([0x34, 0x12], 0);
    expect(() => vm.run(replay(record))).toThrow('configuration space is not at 0xb0000000');
  });

  it('have to read back as they were written', () => {
    const vm = machine();
    const stubborn = configSpace({ msix: { ...MSIX, control: 1 } });
    vm.memory.set(PLACE, new Proxy(stubborn, { get: refuseLine }));
    expect(() => vm.run(replay(record))).toThrow(
      /INTERRUPT_LINE of the device at 1:0.0 is 0x00 instead of 0x0b/,
    );
  });

  it('can not be written where nothing answers', () => {
    const vm = machine();
    vm.memory.delete(TABLE);
    expect(() => vm.run(replay(record))).toThrow(expect.objectContaining({ code: 'ERR_VM_COMMAND' }));
  });
});

/** Takes everything but the byte 0x3c. */
function refuseLine(target: Uint8Array, name: string | symbol): unknown {
  if (name === 'set')
    return (bytes: Uint8Array, at: number) => (at === 0x3c ? undefined : target.set(bytes, at));
  const value = Reflect.get(target, name, target);
  return typeof value === 'function' ? value.bind(target) : value;
}
