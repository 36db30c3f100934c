/**
 * The registers of a 16550A (National Semiconductor PC16550D data sheet, section 8), each 8 bits wide, at consecutive
 * offsets. While LCR.DLAB is set, the first two are the divisor latch instead.
 *
 * | offset | read | write |
 * |---|---|---|
 * | 0 | RBR: the oldest byte received; DLAB: divisor, low | THR: sends a byte; DLAB: divisor, low |
 * | 1 | IER; DLAB: divisor, high | IER; DLAB: divisor, high |
 * | 2 | IIR | FCR |
 * | 3 | LCR | LCR |
 * | 4 | MCR | MCR |
 * | 5 | LSR | nothing |
 * | 6 | MSR | nothing |
 * | 7 | SCR: keeps what is written | SCR |
 */
export const SerialRegister = {
  DATA: 0,
  IER: 1,
  IIR: 2,
  FCR: 2,
  LCR: 3,
  MCR: 4,
  LSR: 5,
  MSR: 6,
  SCR: 7,
} as const;

/** Bits of IER, interrupt enable: data received, transmitter empty, line status, modem status. */
export const SerialEnable = { RECEIVED: 1, EMPTY: 2, LINE: 4, MODEM: 8 } as const;

/** What IIR says is the matter, highest priority first; NONE when nothing is. */
export const SerialCause = { LINE: 6, RECEIVED: 4, TIMEOUT: 12, EMPTY: 2, MODEM: 0, NONE: 1 } as const;

/** Bits of IIR that are set while the FIFOs are enabled. */
export const SERIAL_FIFOS_ENABLED = 0xc0;

/** Bits of FCR, FIFO control; the trigger level is in the upper two. */
export const SerialFifo = { ENABLE: 1, CLEAR_RECEIVER: 2, CLEAR_TRANSMITTER: 4, TRIGGER_SHIFT: 6 } as const;

/** Bits of LCR, line control; the two lowest are the word length less 5. */
export const SerialLine = {
  WORD_LENGTH: 3,
  TWO_STOP_BITS: 4,
  PARITY: 8,
  EVEN: 0x10,
  STICK: 0x20,
  DLAB: 0x80,
} as const;

/** Bits of MCR, modem control. */
export const SerialModemControl = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOPBACK: 0x10 } as const;

/** Bits of LSR, line status. */
export const SerialLineStatus = { DATA_READY: 1, OVERRUN: 2, HOLDING_EMPTY: 0x20, EMPTY: 0x40 } as const;

/** Bits of MSR, modem status: what has changed since it was read (RI: has ended), and what is. */
export const SerialModemStatus = {
  CTS_CHANGED: 1,
  DSR_CHANGED: 2,
  RI_ENDED: 4,
  DCD_CHANGED: 8,
  CTS: 0x10,
  DSR: 0x20,
  RI: 0x40,
  DCD: 0x80,
} as const;

/** Bytes in each FIFO. */
export const SERIAL_FIFO_SIZE = 16;

/** Bytes at which the receiver's FIFO interrupts, by the two bits of FCR. */
export const SERIAL_TRIGGER_LEVELS = [1, 4, 8, 14] as const;

/** Bits per second with a divisor of 1: 1.8432 MHz through 16. */
export const SERIAL_BASE_BAUD = 115200;
