import { type DeviceHost, PciDevice, type RegisterMap, type ServedDevice, u8, u16 } from '../device/index.ts';

/**
 * The registers of the PCI-IDIO-16 in BAR2, 8 bytes of I/O space, each 8 bits wide (ACCES I/O Products, PCI-IDIO-16
 * manual; Linux: drivers/gpio/gpio-idio-16.c). Some do one thing when they are read and another when written.
 *
 * | offset | name | read | write |
 * |---|---|---|---|
 * | 0 | OUTPUTS_LOW | OUT0 to OUT7 | sets OUT0 to OUT7 |
 * | 1 | INPUTS_LOW | IIN0 to IIN7 | clears the interrupt |
 * | 2 | INTERRUPT_CONTROL | enables the interrupt; 0 | disables the interrupt |
 * | 3 | FILTER_CONTROL | 0 | nothing: inputs are clean without filters |
 * | 4 | OUTPUTS_HIGH | OUT8 to OUT15 | sets OUT8 to OUT15 |
 * | 5 | INPUTS_HIGH | IIN8 to IIN15 | nothing |
 * | 6 | INTERRUPT_STATUS | {@link GpioInterrupt} | nothing |
 */
export const GpioRegister = {
  OUTPUTS_LOW: 0,
  INPUTS_LOW: 1,
  INTERRUPT_CONTROL: 2,
  FILTER_CONTROL: 3,
  OUTPUTS_HIGH: 4,
  INPUTS_HIGH: 5,
  INTERRUPT_STATUS: 6,
} as const;

/** Bits of INTERRUPT_STATUS: which inputs have changed, and that the interrupt is asserted. */
export const GpioInterrupt = { INPUTS_LOW: 1, INPUTS_HIGH: 2, ASSERTED: 4 } as const;

/** How many outputs there are, and how many inputs. */
export const GPIO_LINES = 16;

const REGISTERS_SIZE = 8;
const BYTE = 0xff;
const ALL_LINES = 0xffff;

/** Options of {@link Gpio}. */
export interface GpioOptions {
  /**
   * Called with all outputs whenever one has changed: by the guest, by a reset, by a migrated state. Bit n is OUTn.
   * What it throws the guest gets as an I/O error.
   */
  readonly onOutputs?: (outputs: number) => void;
}

/**
 * The ACCES PCI-IDIO-16: 16 outputs, 16 inputs, and an interrupt when an input changes. Linux has a driver for it,
 * gpio-pci-idio-16, whose lines 0 to 15 are OUT0 to OUT15 and 16 to 31 are IIN0 to IIN15.
 *
 *     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"gpio.sock"}}'
 *
 * That driver has a defect (since Linux 6.4): it hands an interrupt to all inputs, and the kernel crashes at one that
 * nobody has requested since it was loaded. So request the edges of all 16 inputs once before an interrupt comes.
 *
 * The inputs belong to the outside world: a reset does not change them, and what is set while the device is stopped
 * reaches the guest when it runs again.
 */
export class Gpio extends PciDevice {
  readonly identity = {
    kind: 'gpio',
    vendor: 0x494f,
    device: 0x0dc8,
    classCode: 0x118000,
    subsystemVendor: 0x494f,
    subsystemDevice: 0x0dc8,
  };
  readonly interrupts = { intx: true };
  readonly state = this.migratable({
    outputs: u16(),
    inputs: u16(),
    interruptEnabled: u8(),
    interruptStatus: u8(),
  });
  readonly bars = { 2: this.registers(REGISTERS_SIZE, this.#registers(), { space: 'io' }) };
  readonly #onOutputs: (outputs: number) => void;
  /** What the outside world wants the inputs to be. */
  #wanted = 0;
  /** What {@link GpioOptions.onOutputs} has been told. */
  #shown = 0;
  #bound = false;

  constructor({ onOutputs = () => undefined }: GpioOptions = {}) {
    super();
    this.#onOutputs = onOutputs;
  }

  override bind(host: DeviceHost): ServedDevice {
    const served = super.bind(host);
    this.#bound = true;
    return served;
  }

  /** All outputs; bit n is OUTn. */
  get outputs(): number {
    return this.state.outputs;
  }

  /** All inputs; bit n is IINn. Only the lowest 16 bits of what is assigned count. */
  get inputs(): number {
    return this.#wanted;
  }

  set inputs(levels: number) {
    this.#wanted = levels & ALL_LINES;
    if (this.#bound) this.kick();
  }

  /** Sets one input, 0 to 15. Throws RangeError for another. */
  setInput(line: number, level: boolean): void {
    if (!Number.isInteger(line) || line < 0 || line >= GPIO_LINES) {
      throw new RangeError(`there is no input ${line}: they are 0 to ${GPIO_LINES - 1}`);
    }
    this.inputs = level ? this.#wanted | (1 << line) : this.#wanted & ~(1 << line);
  }

  /** Takes over inputs that have changed outside, and tells the guest if it wants to know. */
  protected override work(): void {
    const { state } = this;
    const changed = state.inputs ^ this.#wanted;
    state.inputs = this.#wanted;
    if (changed === 0 || state.interruptEnabled === 0) return;
    if ((changed & BYTE) !== 0) state.interruptStatus |= GpioInterrupt.INPUTS_LOW;
    if (changed > BYTE) state.interruptStatus |= GpioInterrupt.INPUTS_HIGH;
    state.interruptStatus |= GpioInterrupt.ASSERTED;
    this.raise();
  }

  protected override onReset(): void {
    this.state.inputs = this.#wanted;
    this.#showOutputs();
  }

  protected override onRestored(): void {
    this.#wanted = this.state.inputs;
    this.#showOutputs();
  }

  #registers(): RegisterMap {
    const { state } = this;
    return {
      [GpioRegister.OUTPUTS_LOW]: {
        width: 1,
        read: () => state.outputs & BYTE,
        write: (value) => this.#setOutputs((state.outputs & ~BYTE) | value),
      },
      [GpioRegister.OUTPUTS_HIGH]: {
        width: 1,
        read: () => state.outputs >> 8,
        write: (value) => this.#setOutputs((value << 8) | (state.outputs & BYTE)),
      },
      [GpioRegister.INPUTS_LOW]: {
        width: 1,
        read: () => state.inputs & BYTE,
        write: () => this.#clearInterrupt(),
      },
      [GpioRegister.INPUTS_HIGH]: { width: 1, read: () => state.inputs >> 8 },
      [GpioRegister.INTERRUPT_CONTROL]: {
        width: 1,
        read: () => {
          state.interruptEnabled = 1;
          return 0;
        },
        write: () => {
          state.interruptEnabled = 0;
          this.#clearInterrupt();
        },
      },
      [GpioRegister.INTERRUPT_STATUS]: { width: 1, read: () => state.interruptStatus },
    };
  }

  #setOutputs(outputs: number): void {
    this.state.outputs = outputs;
    this.#showOutputs();
  }

  #clearInterrupt(): void {
    this.state.interruptStatus = 0;
    this.lower();
  }

  #showOutputs(): void {
    const { outputs } = this.state;
    if (outputs === this.#shown) return;
    this.#shown = outputs;
    this.#onOutputs(outputs);
  }
}
