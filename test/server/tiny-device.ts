import { expect } from 'vitest';
import { field, memory, PciDevice, readOnly, u32 } from '../../src/device/index.ts';

/** A device with little state, so that each of its bytes can be tried. */
export class Tiny extends PciDevice {
  override readonly identity = { kind: 'tiny', vendor: 0x1af4, device: 0x10f4, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32({ initial: 3 }), ram: memory(8192) });
  override readonly bars = {
    0: this.registers(4096, { 0: field(this.state, 'value'), 4: readOnly(() => 7) }),
    2: this.memoryBar(this.state.ram, { mmap: true }),
  };
  override readonly interrupts = {};
}

/** Gives it a state that {@link expectLoaded} knows. */
export function fillTiny(device: Tiny, value = 0x1234): void {
  device.state.value = value;
  device.state.ram.bytes.fill(0x77, 100, 5000);
}

/** The state of {@link fillTiny} has arrived. */
export function expectLoaded(device: Tiny, value = 0x1234): void {
  expect(device.state.value).toBe(value);
  expect(device.state.ram.bytes.subarray(99, 5001)).toEqual(new Uint8Array(4902).fill(0x77, 1, 4901));
}
