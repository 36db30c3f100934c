import { describe, expect, it } from 'vitest';
import { ecamAddress, findEcam, type Peek } from '../../../src/vm/machine/ecam.ts';
import { save } from '../../../src/vm/step.ts';
import { FakeVm } from '../fake-vm.ts';

function bridge(id: number, pointer: bigint): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, id, true);
  view.setBigUint64(0x60, pointer, true);
  return bytes;
}

/** Where nothing is said to be, nothing is. */
const peek: Peek = function* (address, length) {
  try {
    return yield* save(address, length);
  } catch {
    return null;
  }
};

describe('configuration space in memory', () => {
  it.each([
    ['SeaBIOS puts it', 0xb000_0000n],
    ['OVMF puts it', 0xe000_0000n],
  ])('is found where %s', (_, base) => {
    const vm = new FakeVm();
    vm.memory.set(base, bridge(0x29c0_8086, base | 1n));
    expect(vm.run(findEcam(peek))).toEqual({ base, hostBridge: 0x29c0_8086 });
  });

  it.each([
    ['is not there', 0xffff_ffff, 0xb000_0001n],
    ['is memory of zeros', 0, 0n],
    ['says that it is elsewhere', 0x29c0_8086, 0xc000_0001n],
    ['is not enabled', 0x29c0_8086, 0xb000_0000n],
  ])('is not believed when the host bridge %s', (_, id, pointer) => {
    const vm = new FakeVm();
    vm.memory.set(0xb000_0000n, bridge(id, pointer));
    expect(vm.run(findEcam(peek))).toBeNull();
  });

  it('has 4 KiB for each function', () => {
    expect(ecamAddress(0xb000_0000n, { bus: 1, slot: 2, function: 3 })).toBe(0xb011_3000n);
  });
});
