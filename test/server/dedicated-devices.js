// Loaded by a thread that runs the built package, so it is JavaScript, and imports dist/.
import { field, memory, PciDevice, readOnly, u32 } from '../../dist/device/index.js';

/** A register, a clock and some memory. */
class Clock extends PciDevice {
  identity = { kind: 'clock', vendor: 0x1af4, device: 0x10f1, classCode: 0xff0000 };
  interrupts = {};
  state = this.migratable({ ticks: u32(), scratch: u32(), ram: memory(64 * 1024) });
  bars = {
    0: this.registers(
      4096,
      { 0x00: readOnly(() => this.state.ticks), 0x04: field(this.state, 'scratch') },
      { doorbells: [{ offset: 0x04, size: 4, shadow: true }] },
    ),
    2: this.memoryBar(this.state.ram),
  };

  constructor() {
    super();
    this.every(5, () => {
      this.state.ticks += 1;
    });
  }
}

class Asynchronous extends Clock {
  async work() {}
}

/** @param {{ asynchronous?: boolean, broken?: boolean }} options */
export default function make(options = {}) {
  if (options.broken) throw new Error('no such luck');
  return options.asynchronous ? new Asynchronous() : new Clock();
}
