import { bytes, KiB, MiB, PciDevice, type RegionCallbacks, u32, u64 } from '../device/index.ts';

/** The registers of edu in BAR0, by QEMU's specification (docs/specs/edu.rst). */
export const EduRegister = {
  /** Reads 0xRRrr00ed: major and minor version. */
  IDENTIFICATION: 0x00,
  /** Reads the complement of what was written. */
  LIVENESS: 0x04,
  /** Takes n, reads n! once STATUS.COMPUTING has gone. */
  FACTORIAL: 0x08,
  STATUS: 0x20,
  INTERRUPT_STATUS: 0x24,
  /** Sets bits of INTERRUPT_STATUS and raises an interrupt. */
  INTERRUPT_RAISE: 0x60,
  /** Clears bits of INTERRUPT_STATUS. */
  INTERRUPT_ACKNOWLEDGE: 0x64,
  DMA_SOURCE: 0x80,
  DMA_DESTINATION: 0x88,
  DMA_COUNT: 0x90,
  DMA_COMMAND: 0x98,
} as const;

/** Bits of STATUS. COMPUTING is read-only; INTERRUPT asks for an interrupt after a factorial. */
export const EduStatus = { COMPUTING: 0x01, INTERRUPT: 0x80 } as const;

/** Bits of INTERRUPT_STATUS that the device sets by itself. */
export const EduInterrupt = { FACTORIAL: 0x001, DMA: 0x100 } as const;

/** Bits of DMA_COMMAND. */
export const EduDmaCommand = { RUN: 1, TO_MEMORY: 2, INTERRUPT: 4 } as const;

/** Where the DMA buffer is in the device's own addresses, and its bytes. */
export const EDU_BUFFER = 0x40000n;
export const EDU_BUFFER_SIZE = 4 * KiB;

/** What IDENTIFICATION reads: version 1.0. */
export const EDU_IDENTIFICATION = 0x010000ed;

/** Below are 32-bit registers, which take only 4-byte accesses; above, 64-bit ones, which take 4 and 8 bytes. */
const WIDE_REGISTERS = 0x80;
/** The device reaches only so much guest memory: 28 bits. */
const DMA_MASK = (1n << 28n) - 1n;
/** What an access reads that the device does not answer. */
const NOTHING = 0xffffffffffffffffn;

/** Options of {@link Edu}. */
export interface EduOptions {
  /**
   * True by default. Otherwise it reaches only guest memory that the client has given as fds, and can be served in
   * dedicated mode.
   */
  readonly asynchronous?: boolean;
}

/**
 * QEMU's educational device: identification, liveness, factorials, interrupts and DMA to a buffer of its own. A DMA
 * whose device side is not inside the buffer, or whose guest side is not mapped, ends without having moved anything.
 */
export class Edu extends PciDevice {
  readonly identity = { kind: 'edu', vendor: 0x1234, device: 0x11e8, revision: 0x10, classCode: 0x00ff00 };
  readonly interrupts = { intx: true, msi: 1 };
  readonly state = this.migratable({
    liveness: u32(),
    factorial: u32(),
    status: u32(),
    interruptStatus: u32(),
    source: u64(),
    destination: u64(),
    count: u64(),
    command: u64(),
    buffer: bytes(EDU_BUFFER_SIZE),
  });
  readonly bars = { 0: this.callbacks(1 * MiB, this.#accesses()) };
  override readonly asynchronous: boolean;

  constructor({ asynchronous = true }: EduOptions = {}) {
    super();
    this.asynchronous = asynchronous;
  }

  protected override work(): void | Promise<void> {
    this.#compute();
    if (!this.#commanded(EduDmaCommand.RUN)) return;
    if (this.asynchronous) return this.#transfer();
    this.#transferMapped();
  }

  #accesses(): RegionCallbacks {
    return {
      read: (offset, target, at, length) => {
        let value = answers(offset, length) ? this.#read(offset) : NOTHING;
        for (let i = 0; i < length; i++, value >>= 8n) target[at + i] = Number(value & 0xffn);
      },
      write: (offset, source, at, length) => {
        if (!answers(offset, length)) return;
        let value = 0n;
        for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(source[at + i] ?? 0);
        this.#write(offset, value);
      },
    };
  }

  #read(offset: number): bigint {
    const { state } = this;
    switch (offset) {
      case EduRegister.IDENTIFICATION:
        return BigInt(EDU_IDENTIFICATION);
      case EduRegister.LIVENESS:
        return BigInt(state.liveness);
      case EduRegister.FACTORIAL:
        return BigInt(state.factorial);
      case EduRegister.STATUS:
        return BigInt(state.status);
      case EduRegister.INTERRUPT_STATUS:
        return BigInt(state.interruptStatus);
      case EduRegister.DMA_SOURCE:
        return state.source;
      case EduRegister.DMA_DESTINATION:
        return state.destination;
      case EduRegister.DMA_COUNT:
        return state.count;
      case EduRegister.DMA_COMMAND:
        return state.command;
      default:
        return NOTHING;
    }
  }

  #write(offset: number, value: bigint): void {
    if (offset >= WIDE_REGISTERS) this.#writeDma(offset, value);
    else this.#writeControl(offset, Number(value));
  }

  #writeControl(offset: number, value: number): void {
    const { state } = this;
    switch (offset) {
      case EduRegister.LIVENESS:
        state.liveness = ~value;
        return;
      case EduRegister.FACTORIAL:
        if ((state.status & EduStatus.COMPUTING) !== 0) return;
        state.factorial = value;
        state.status |= EduStatus.COMPUTING;
        this.kick();
        return;
      case EduRegister.STATUS:
        state.status = (state.status & EduStatus.COMPUTING) | (value & EduStatus.INTERRUPT);
        return;
      case EduRegister.INTERRUPT_RAISE:
        this.#interrupt(value);
        return;
      case EduRegister.INTERRUPT_ACKNOWLEDGE:
        state.interruptStatus &= ~value;
        if (state.interruptStatus === 0) this.lower();
        return;
    }
  }

  /** The DMA registers can't be written while a transfer runs. */
  #writeDma(offset: number, value: bigint): void {
    const { state } = this;
    if (this.#commanded(EduDmaCommand.RUN)) return;
    switch (offset) {
      case EduRegister.DMA_SOURCE:
        state.source = value;
        return;
      case EduRegister.DMA_DESTINATION:
        state.destination = value;
        return;
      case EduRegister.DMA_COUNT:
        state.count = value;
        return;
      case EduRegister.DMA_COMMAND:
        if ((value & BigInt(EduDmaCommand.RUN)) === 0n) return;
        state.command = value;
        this.kick();
        return;
    }
  }

  #interrupt(bits: number): void {
    this.state.interruptStatus |= bits;
    if (this.state.interruptStatus !== 0) this.raise();
  }

  /** n! modulo 2^32. From 34! on that is 0, so a large n takes no longer. */
  #compute(): void {
    const { state } = this;
    if ((state.status & EduStatus.COMPUTING) === 0) return;
    let result = 1;
    for (let n = state.factorial; n > 0 && result !== 0; n--) result = Math.imul(result, n);
    state.factorial = result;
    state.status &= ~EduStatus.COMPUTING;
    if ((state.status & EduStatus.INTERRUPT) !== 0) this.#interrupt(EduInterrupt.FACTORIAL);
  }

  async #transfer(): Promise<void> {
    const part = this.#bufferPart();
    try {
      if (part !== null && this.#commanded(EduDmaCommand.TO_MEMORY)) {
        await this.dma.write(part.iova, part.window.slice());
      } else if (part !== null) {
        part.window.set(await this.dma.read(part.iova, part.window.length));
      }
    } catch {
      // As on a bus, the guest learns nothing of an address that nobody answers.
    }
    this.#transferred();
  }

  #transferMapped(): void {
    const part = this.#bufferPart();
    try {
      if (part !== null && this.#commanded(EduDmaCommand.TO_MEMORY))
        this.dma.writeSync(part.iova, part.window);
      else if (part !== null) this.dma.readSync(part.iova, part.window);
    } catch {
      // As above.
    }
    this.#transferred();
  }

  #transferred(): void {
    const interrupt = this.#commanded(EduDmaCommand.INTERRUPT);
    this.state.command &= ~BigInt(EduDmaCommand.RUN);
    if (interrupt) this.#interrupt(EduInterrupt.DMA);
  }

  /** Both sides of the transfer; null when the device side is not inside the buffer. */
  #bufferPart(): { readonly iova: bigint; readonly window: Uint8Array } | null {
    const { source, destination, count, buffer } = this.state;
    const [device, guest] = this.#commanded(EduDmaCommand.TO_MEMORY)
      ? [source, destination]
      : [destination, source];
    const start = device - EDU_BUFFER;
    if (start < 0n || start + count > BigInt(buffer.length)) return null;
    return { iova: guest & DMA_MASK, window: buffer.subarray(Number(start), Number(start + count)) };
  }

  #commanded(bit: number): boolean {
    return (this.state.command & BigInt(bit)) !== 0n;
  }
}

function answers(offset: number, length: number): boolean {
  return length === 4 || (length === 8 && offset >= WIDE_REGISTERS);
}
