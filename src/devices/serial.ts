import {
  type Bars,
  type DeviceHost,
  PciDevice,
  type Possessions,
  type ServedDevice,
} from '../device/index.ts';
import { NO_BACKEND, type SerialBackend } from './serial-backend.ts';
import { SerialLine as Line, SERIAL_BASE_BAUD, SERIAL_FIFO_SIZE } from './serial-registers.ts';
import { uartShape } from './serial-state.ts';
import { Uart } from './serial-uart.ts';

const REGISTERS_SIZE = 8;
/** A divisor of 0 counts as the largest. */
const LARGEST_DIVISOR = 0x10000;

/** How a guest has set up its side of the line. */
export interface SerialSettings {
  /** Bits per second, rounded. */
  readonly baud: number;
  readonly dataBits: number;
  readonly parity: 'none' | 'odd' | 'even' | 'mark' | 'space';
  /** 2 stands for 1.5 with 5 data bits. */
  readonly stopBits: 1 | 2;
}

/** Options of {@link Serial}. */
export interface SerialOptions {
  /** The other end; nobody by default. */
  readonly backend?: SerialBackend;
}

/**
 * A 16550A on PCI with its 8 registers in BAR0 (I/O space): the pci-serial of QEMU, which Linux's 8250_pci drives.
 *
 *     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"serial.sock"}}'
 *
 * A byte takes no time on the line, whatever the divisor says; but for a millisecond after the guest has emptied its FIFO
 * nothing comes, so that a fast sender does not keep it in its interrupt handler. A receiver that holds anything has either reached
 * its trigger level or been idle for the four characters after which it times out, and there are no parity, framing
 * or break errors. The other end sends only while the guest asserts RTS, so that hardware flow control loses nothing.
 */
export class Serial extends PciDevice {
  readonly identity = {
    kind: 'serial',
    vendor: 0x1b36,
    device: 0x0002,
    revision: 1,
    classCode: 0x070002,
    subsystemVendor: 0x1af4,
    subsystemDevice: 0x1100,
  };
  readonly interrupts = { intx: true };
  readonly state = this.migratable(uartShape());
  readonly bars: Bars;
  readonly #uart: Uart;
  readonly #backend: SerialBackend;

  constructor({ backend = NO_BACKEND }: SerialOptions = {}) {
    super();
    this.#backend = backend;
    this.#uart = new Uart(this.state, backend, {
      raise: () => this.raise(),
      lower: () => this.lower(),
      kick: () => this.kick(),
      after: (ms, run) => {
        this.after(ms, run);
      },
    });
    this.bars = { 0: this.registers(REGISTERS_SIZE, this.#uart.registers(), { space: 'io' }) };
  }

  override bind(host: DeviceHost): ServedDevice {
    const served = super.bind(host);
    this.#backend.onReady(() => this.kick());
    return served;
  }

  /** What the guest has set. */
  get settings(): SerialSettings {
    const { divisor, lineControl } = this.state;
    return {
      baud: Math.round(SERIAL_BASE_BAUD / (divisor || LARGEST_DIVISOR)),
      dataBits: 5 + (lineControl & Line.WORD_LENGTH),
      parity: parityOf(lineControl),
      stopBits: (lineControl & Line.TWO_STOP_BITS) === 0 ? 1 : 2,
    };
  }

  protected override work(): void {
    this.#backend.resume?.();
    this.#uart.move();
  }

  protected override onHandOver(): Possessions {
    return this.#backend.handOver?.() ?? super.onHandOver();
  }

  protected override onTakeOver(possessions: Possessions): void {
    this.#backend.takeOver?.(possessions);
  }

  protected override onReset(): void {
    this.#uart.reset();
  }

  /** Counts come from a state that anybody may have written. */
  protected override onRestored(): void {
    const { state } = this;
    state.receivedCount = Math.min(state.receivedCount, SERIAL_FIFO_SIZE);
    state.sendingCount = Math.min(state.sendingCount, SERIAL_FIFO_SIZE);
  }
}

function parityOf(lineControl: number): SerialSettings['parity'] {
  if ((lineControl & Line.PARITY) === 0) return 'none';
  const even = (lineControl & Line.EVEN) !== 0;
  if ((lineControl & Line.STICK) !== 0) return even ? 'space' : 'mark';
  return even ? 'even' : 'odd';
}
