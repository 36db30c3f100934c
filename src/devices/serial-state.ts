import { bool, bytes, type LiveState, u8, u16 } from '../device/index.ts';
import { SERIAL_FIFO_SIZE } from './serial-registers.ts';

/** The declared state of a 16550A. */
export function uartShape() {
  return {
    received: bytes(SERIAL_FIFO_SIZE),
    receivedCount: u8(),
    sending: bytes(SERIAL_FIFO_SIZE),
    sendingCount: u8(),
    divisor: u16({ initial: 12 }),
    interruptEnable: u8(),
    fifoControl: u8(),
    lineControl: u8(),
    modemControl: u8(),
    /** The lower half of MSR. */
    modemChanges: u8(),
    scratch: u8(),
    overrun: bool(),
    /** The transmitter has become empty, and IIR has not said so yet. */
    emptied: bool(),
    /** The interrupt is asserted. */
    interrupting: bool(),
  };
}

/** The values of {@link uartShape}. */
export type UartState = LiveState<ReturnType<typeof uartShape>>;
