import { field, type RegisterMap } from '../device/index.ts';
import type { SerialBackend } from './serial-backend.ts';
import { SerialPace } from './serial-pace.ts';
import {
  SerialCause as Cause,
  SerialEnable as Enable,
  SerialFifo as Fifo,
  SerialLine as Line,
  SerialLineStatus as LineStatus,
  SerialModemControl as ModemControl,
  SerialModemStatus as ModemStatus,
  SerialRegister as Reg,
  SERIAL_FIFO_SIZE,
  SERIAL_FIFOS_ENABLED,
  SERIAL_TRIGGER_LEVELS,
} from './serial-registers.ts';
import type { UartState } from './serial-state.ts';

const ENABLE_MASK = 0x0f;
const FIFO_KEPT = Fifo.ENABLE | (3 << Fifo.TRIGGER_SHIFT);
const MODEM_CONTROL_MASK = 0x1f;
/** Modem lines of somebody who is there and ready. */
const CONNECTED = ModemStatus.CTS | ModemStatus.DSR | ModemStatus.DCD;
/** What a change of these lines sets; RI counts only when it ends. */
const LINE_CHANGES = [
  [ModemStatus.CTS, ModemStatus.CTS_CHANGED],
  [ModemStatus.DSR, ModemStatus.DSR_CHANGED],
  [ModemStatus.DCD, ModemStatus.DCD_CHANGED],
] as const;

/** The device that a UART is a part of. */
export interface UartPort {
  raise(): void;
  lower(): void;
  /** Asks for {@link Uart.move} after the current access. */
  kick(): void;
  /** Calls `run` when the device has run for `ms` milliseconds more; a reset forgets it. */
  after(ms: number, run: () => void): void;
}

/** A 16550A: registers, FIFOs, interrupt. All that matters is its declared state. */
export class Uart {
  readonly #state: UartState;
  readonly #port: UartPort;
  readonly #backend: SerialBackend;
  readonly #pace: SerialPace;

  constructor(state: UartState, backend: SerialBackend, port: UartPort) {
    this.#state = state;
    this.#backend = backend;
    this.#port = port;
    this.#pace = new SerialPace({ after: port.after, rested: port.kick });
  }

  /** Moves bytes in both directions, as far as both ends take them. */
  move(): void {
    this.#send();
    this.#receive();
    this.#update();
  }

  /** The device has been reset. */
  reset(): void {
    this.#pace.reset();
  }

  /** The eight registers. */
  registers(): RegisterMap {
    const state = this.#state;
    return {
      [Reg.DATA]: { width: 1, read: () => this.#readData(), write: (value) => this.#writeData(value) },
      [Reg.IER]: { width: 1, read: () => this.#readEnable(), write: (value) => this.#writeEnable(value) },
      [Reg.IIR]: { width: 1, read: () => this.#readCause(), write: (value) => this.#writeFifo(value) },
      [Reg.LCR]: field(state, 'lineControl', 1),
      [Reg.MCR]: {
        width: 1,
        read: () => state.modemControl,
        write: (value) => this.#writeModemControl(value),
      },
      [Reg.LSR]: { width: 1, read: () => this.#readLineStatus() },
      [Reg.MSR]: { width: 1, read: () => this.#readModemStatus() },
      [Reg.SCR]: field(state, 'scratch', 1),
    };
  }

  // ---- data

  #readData(): number {
    const state = this.#state;
    if (this.#latched) return state.divisor & 0xff;
    if (state.receivedCount === 0) return 0;
    const byte = state.received[0] ?? 0;
    state.received.copyWithin(0, 1);
    state.receivedCount -= 1;
    if (state.receivedCount === 0) this.#pace.emptied();
    this.#update();
    return byte;
  }

  #writeData(value: number): void {
    const state = this.#state;
    if (this.#latched) {
      state.divisor = (state.divisor & 0xff00) | value;
      return;
    }
    if (this.#loopback) {
      this.#loop(value);
    } else {
      // One byte too many replaces the one that waits; a FIFO keeps what it has.
      if (!this.#hasFifos) state.sendingCount = 0;
      if (state.sendingCount < SERIAL_FIFO_SIZE) {
        state.sending[state.sendingCount] = value;
        state.sendingCount += 1;
      }
      state.emptied = false;
      this.#sendSoon();
    }
    this.#update();
  }

  /** Drivers write several bytes at a time. They go out together, when the FIFO is full or the guest pauses. */
  #sendSoon(): void {
    if (this.#state.sendingCount === this.#capacity) this.#port.kick();
    else if (this.#state.sendingCount === 1) this.#port.after(0, () => this.#port.kick());
  }

  /** What is sent in loopback mode is received at once. */
  #loop(value: number): void {
    const state = this.#state;
    if (state.receivedCount === this.#capacity) {
      state.overrun = true;
      if (!this.#hasFifos) state.received[0] = value;
    } else {
      state.received[state.receivedCount] = value;
      state.receivedCount += 1;
    }
    state.emptied = true;
  }

  #send(): void {
    const state = this.#state;
    if (state.sendingCount === 0 || this.#loopback) return;
    const taken = this.#backend.write(state.sending.slice(0, state.sendingCount));
    state.sending.copyWithin(0, taken, state.sendingCount);
    state.sendingCount -= taken;
    if (state.sendingCount === 0) state.emptied = true;
  }

  #receive(): void {
    const state = this.#state;
    const mayCome = (state.modemControl & (ModemControl.RTS | ModemControl.LOOPBACK)) === ModemControl.RTS;
    const room = Math.min(this.#capacity - state.receivedCount, this.#pace.allowance(this.#capacity));
    if (!mayCome || room <= 0) return;
    const from = state.receivedCount;
    const count = this.#backend.read(state.received.subarray(from, from + room));
    state.receivedCount += count;
    this.#pace.bring(count);
  }

  // ---- control

  #readEnable(): number {
    return this.#latched ? this.#state.divisor >> 8 : this.#state.interruptEnable;
  }

  #writeEnable(value: number): void {
    const state = this.#state;
    if (this.#latched) {
      state.divisor = (value << 8) | (state.divisor & 0xff);
      return;
    }
    const added = value & ~state.interruptEnable;
    state.interruptEnable = value & ENABLE_MASK;
    // Who begins to wait for an empty transmitter learns that it is empty.
    if ((added & Enable.EMPTY) !== 0 && state.sendingCount === 0) state.emptied = true;
    this.#update();
  }

  #readCause(): number {
    const state = this.#state;
    const cause = this.#cause();
    if (cause === Cause.EMPTY) state.emptied = false;
    this.#update();
    if (state.sendingCount > 0) this.#port.kick();
    return cause | (this.#hasFifos ? SERIAL_FIFOS_ENABLED : 0);
  }

  /** Switching the FIFOs on or off clears both. */
  #writeFifo(value: number): void {
    const state = this.#state;
    const switched = ((value ^ state.fifoControl) & Fifo.ENABLE) !== 0;
    if (switched || (value & Fifo.CLEAR_RECEIVER) !== 0) {
      state.receivedCount = 0;
      state.overrun = false;
      this.#pace.emptied();
    }
    if (switched || (value & Fifo.CLEAR_TRANSMITTER) !== 0) {
      state.sendingCount = 0;
      state.emptied = true;
    }
    state.fifoControl = (value & Fifo.ENABLE) === 0 ? 0 : value & FIFO_KEPT;
    this.#update();
  }

  #writeModemControl(value: number): void {
    const state = this.#state;
    const before = this.#modemLines();
    state.modemControl = value & MODEM_CONTROL_MASK;
    const after = this.#modemLines();
    for (const [line, change] of LINE_CHANGES) {
      if (((before ^ after) & line) !== 0) state.modemChanges |= change;
    }
    if ((before & ~after & ModemStatus.RI) !== 0) state.modemChanges |= ModemStatus.RI_ENDED;
    this.#update();
    this.#port.kick();
  }

  // ---- status

  #readLineStatus(): number {
    const state = this.#state;
    const status =
      (state.receivedCount > 0 ? LineStatus.DATA_READY : 0) |
      (state.overrun ? LineStatus.OVERRUN : 0) |
      (state.sendingCount === 0 ? LineStatus.HOLDING_EMPTY | LineStatus.EMPTY : 0);
    state.overrun = false;
    this.#update();
    if (state.sendingCount > 0) this.#port.kick();
    return status;
  }

  #readModemStatus(): number {
    const status = this.#modemLines() | this.#state.modemChanges;
    this.#state.modemChanges = 0;
    this.#update();
    return status;
  }

  /** In loopback mode the outputs of MCR are the inputs of MSR. */
  #modemLines(): number {
    if (!this.#loopback) return CONNECTED;
    const { modemControl } = this.#state;
    return (
      ((modemControl & ModemControl.RTS) !== 0 ? ModemStatus.CTS : 0) |
      ((modemControl & ModemControl.DTR) !== 0 ? ModemStatus.DSR : 0) |
      ((modemControl & ModemControl.OUT1) !== 0 ? ModemStatus.RI : 0) |
      ((modemControl & ModemControl.OUT2) !== 0 ? ModemStatus.DCD : 0)
    );
  }

  // ---- interrupts

  #cause(): number {
    const state = this.#state;
    const enabled = state.interruptEnable;
    if ((enabled & Enable.LINE) !== 0 && state.overrun) return Cause.LINE;
    if ((enabled & Enable.RECEIVED) !== 0 && state.receivedCount > 0) {
      return state.receivedCount >= this.#trigger ? Cause.RECEIVED : Cause.TIMEOUT;
    }
    if ((enabled & Enable.EMPTY) !== 0 && state.emptied) return Cause.EMPTY;
    if ((enabled & Enable.MODEM) !== 0 && state.modemChanges !== 0) return Cause.MODEM;
    return Cause.NONE;
  }

  #update(): void {
    const interrupting = this.#cause() !== Cause.NONE;
    if (interrupting === this.#state.interrupting) return;
    this.#state.interrupting = interrupting;
    if (interrupting) this.#port.raise();
    else this.#port.lower();
  }

  get #latched(): boolean {
    return (this.#state.lineControl & Line.DLAB) !== 0;
  }

  get #loopback(): boolean {
    return (this.#state.modemControl & ModemControl.LOOPBACK) !== 0;
  }

  get #hasFifos(): boolean {
    return (this.#state.fifoControl & Fifo.ENABLE) !== 0;
  }

  get #capacity(): number {
    return this.#hasFifos ? SERIAL_FIFO_SIZE : 1;
  }

  get #trigger(): number {
    const level = this.#hasFifos ? this.#state.fifoControl >> Fifo.TRIGGER_SHIFT : 0;
    return SERIAL_TRIGGER_LEVELS[level] ?? 1;
  }
}
