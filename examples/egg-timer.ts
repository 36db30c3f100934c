// An egg timer on PCI: wind it up, and it interrupts when the time is over. docs/write-a-device.md builds it step by step.
// ferry serve examples/egg-timer.ts --socket-path /tmp/egg.sock
// #region imports
import { PciDevice, readOnly, register, u32 } from 'vfio-ferry/device';
// #endregion

// #region identity
export default class EggTimer extends PciDevice {
  readonly identity = { kind: 'egg-timer', vendor: 0x1234, device: 0x0e99, classCode: 0x088000 };
  // #endregion

  // #region state
  readonly state = this.migratable({ left: u32(), ringing: u32(), rings: u32() });
  // #endregion

  // #region registers
  readonly bars = {
    0: this.registers(4096, {
      0x0: register({ read: () => this.state.left, write: (tenths) => this.#wind(tenths) }),
      0x4: register({ read: () => this.state.ringing, write: () => this.#silence() }),
      0x8: readOnly(() => this.state.rings),
    }),
  };
  // #endregion

  // #region interrupts
  readonly interrupts = { intx: true };
  // #endregion

  // #region time
  constructor({ tick = '100' }: { readonly tick?: string } = {}) {
    super();
    this.every(Number(tick), () => this.#tick());
  }

  #tick(): void {
    if (this.state.left === 0) return;
    this.state.left -= 1;
    if (this.state.left === 0) this.#ring();
  }
  // #endregion

  // #region behaviour
  #wind(tenths: number): void {
    this.#silence();
    this.state.left = tenths;
  }

  #ring(): void {
    this.state.ringing = 1;
    this.state.rings += 1;
    this.raise();
  }

  #silence(): void {
    this.state.ringing = 0;
    this.lower();
  }
  // #endregion
}
