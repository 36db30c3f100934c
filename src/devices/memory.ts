import { crc32 } from 'node:zlib';
import {
  type Bars,
  constant,
  type Doorbell,
  field,
  KiB,
  type LiveState,
  MiB,
  memory,
  PciDevice,
  type Register,
  type RegisterMap,
  readOnly,
  register,
  type TimerHandle,
  u32,
  writeOnly,
} from '../device/index.ts';
import { Errno, FerryError } from '../errors/index.ts';
import {
  MEMORY_ID,
  MEMORY_VECTORS,
  MEMORY_VERSION,
  MemoryCommand,
  MemoryRegister as Reg,
  MemoryStatus as Status,
} from './memory-registers.ts';

const SCRATCH_WORDS = 224;
/** Milliseconds: as much as timers take. */
const MAX_PERIOD = 0xffffff;
/** The checksum goes over the guest buffer in pieces, between which a migration may begin. */
const PIECE = 256 * KiB;
const WORD = 2 ** 32;

/** Options of {@link MemoryDevice}. */
export interface MemoryDeviceOptions {
  /** Bytes of memory, a power of two and at least 4 KiB; 64 MiB by default. */
  readonly size?: number;
  /**
   * True by default. Otherwise it reaches only guest memory that the client has given as fds, and can be served in
   * dedicated mode.
   */
  readonly asynchronous?: boolean;
}

function shapeOf(size: number) {
  return {
    memory: memory(size, { onReset: 'keep' }),
    addressLow: u32(),
    addressHigh: u32(),
    length: u32(),
    /** The command in progress; 0 when idle. */
    command: u32(),
    /** How far the checksum has come, in bytes, and what it is so far. */
    progress: u32(),
    checksum: u32(),
    status: u32(),
    result: u32(),
    error: u32(),
    vector: u32(),
    ticks: u32(),
    period: u32({ initial: 10 }),
    interruptStatus: u32(),
    interrupts: u32({ length: MEMORY_VECTORS }),
    completed: u32(),
    scratch: u32({ length: SCRATCH_WORDS }),
  };
}

/** What a client may ring instead of writing: the start of a checksum, and DOORBELL with its value in shared memory. */
const doorbells: readonly Doorbell[] = [
  { offset: Reg.COMMAND, size: 4, datamatch: MemoryCommand.CHECKSUM },
  { offset: Reg.DOORBELL, size: 4, shadow: true },
];

/**
 * A large memory that clients can map (BAR2, 64 bits), with a page of registers (BAR0, see memory-registers.ts): a
 * checksum of guest memory by DMA, doorbells, a clock, counters. A reset leaves the memory alone.
 */
export class MemoryDevice extends PciDevice {
  readonly identity = { kind: 'memory', vendor: 0x1234, device: 0x4652, classCode: 0x058000 };
  readonly interrupts = { intx: true, msix: MEMORY_VECTORS };
  readonly state: LiveState<ReturnType<typeof shapeOf>>;
  readonly bars: Bars;
  override readonly asynchronous: boolean;
  #clock: TimerHandle | null = null;

  constructor({ size = 64 * MiB, asynchronous = true }: MemoryDeviceOptions = {}) {
    super();
    this.asynchronous = asynchronous;
    this.state = this.migratable(shapeOf(size));
    this.bars = {
      0: this.registers(
        4 * KiB,
        { ...this.#information(), ...this.#commands(), ...this.#signals(), ...this.#scratch() },
        { doorbells },
      ),
      2: this.memoryBar(this.state.memory, { bits: 64, prefetchable: true, mmap: true }),
    };
    this.#startClock();
  }

  /** Puts `image` into the memory, at `offset`. Throws when it does not fit. */
  load(image: Uint8Array, offset = 0): void {
    this.state.memory.write(offset, image);
  }

  protected override work(): void | Promise<void> {
    if (this.state.command !== MemoryCommand.CHECKSUM) return;
    return this.asynchronous ? this.#checksum() : this.#checksumMapped();
  }

  protected override onReset(): void {
    this.#startClock();
  }

  protected override onRestored(): void {
    this.#startClock();
  }

  /** Who the device is and how large. */
  #information(): RegisterMap {
    const { size } = this.state.memory;
    return {
      [Reg.ID]: constant(MEMORY_ID),
      [Reg.VERSION]: constant(MEMORY_VERSION),
      [Reg.SIZE_LOW]: constant(size % WORD),
      [Reg.SIZE_HIGH]: constant(Math.floor(size / WORD)),
    };
  }

  #commands(): RegisterMap {
    const { state } = this;
    const whileIdle = (name: 'addressLow' | 'addressHigh' | 'length'): Register =>
      register({
        read: () => state[name],
        write: (value) => {
          if (state.command === 0) state[name] = value;
        },
      });
    return {
      [Reg.DMA_ADDRESS_LOW]: whileIdle('addressLow'),
      [Reg.DMA_ADDRESS_HIGH]: whileIdle('addressHigh'),
      [Reg.DMA_LENGTH]: whileIdle('length'),
      [Reg.COMMAND]: register({ read: () => state.command, write: (value) => this.#command(value) }),
      [Reg.STATUS]: register({
        read: () => state.status | (state.command === 0 ? 0 : Status.BUSY),
        write: (value) => {
          state.status &= ~value;
        },
      }),
      [Reg.RESULT]: readOnly(() => state.result),
      [Reg.ERROR]: readOnly(() => state.error),
      [Reg.COMPLETED]: readOnly(() => state.completed),
    };
  }

  #signals(): RegisterMap {
    const { state } = this;
    const counters = Array.from(state.interrupts, (_, vector) => [
      Reg.INTERRUPTS_0 + 4 * vector,
      readOnly(() => state.interrupts[vector] ?? 0),
    ]);
    return {
      [Reg.VECTOR]: register({
        read: () => state.vector,
        write: (value) => {
          state.vector = value % MEMORY_VECTORS;
        },
      }),
      [Reg.TICKS]: field(state, 'ticks'),
      [Reg.PERIOD]: register({ read: () => state.period, write: (value) => this.#setPeriod(value) }),
      [Reg.INTERRUPTS]: readOnly(() => state.interrupts.reduce((sum, count) => sum + count, 0)),
      [Reg.DOORBELL]: writeOnly((value) => this.#interrupt(value % MEMORY_VECTORS)),
      [Reg.INTERRUPT_STATUS]: register({
        read: () => state.interruptStatus,
        write: (value) => this.#acknowledge(value),
      }),
      ...Object.fromEntries(counters),
    };
  }

  #scratch(): RegisterMap {
    const { scratch } = this.state;
    const words = Array.from(scratch, (_, word) => [
      Reg.SCRATCH + 4 * word,
      register({
        read: () => scratch[word] ?? 0,
        write: (value) => {
          scratch[word] = value;
        },
      }),
    ]);
    return Object.fromEntries(words);
  }

  #command(command: number): void {
    if (this.state.command !== 0) return;
    if (command === MemoryCommand.ECHO) return this.#end(0);
    if (command !== MemoryCommand.CHECKSUM) return;
    this.state.command = command;
    this.state.progress = 0;
    this.state.checksum = 0;
    this.kick();
  }

  async #checksum(): Promise<void> {
    const { state } = this;
    try {
      while (state.progress < state.length && !this.quiescing) {
        this.#add(await this.dma.read(this.#position(), this.#pieceLength()));
      }
    } catch (error) {
      return this.#end(errnoOf(error));
    }
    if (state.progress >= state.length) this.#end(0);
  }

  /** The same without messages, a piece at a time, so that the device stays responsive. */
  #checksumMapped(): void {
    const { state } = this;
    try {
      const piece = new Uint8Array(this.#pieceLength());
      this.dma.readSync(this.#position(), piece);
      this.#add(piece);
    } catch (error) {
      return this.#end(errnoOf(error));
    }
    if (state.progress < state.length) this.kick();
    else this.#end(0);
  }

  #position(): bigint {
    const { addressHigh, addressLow, progress } = this.state;
    return BigInt(addressHigh) * BigInt(WORD) + BigInt(addressLow) + BigInt(progress);
  }

  #pieceLength(): number {
    return Math.min(PIECE, this.state.length - this.state.progress);
  }

  #add(piece: Uint8Array): void {
    this.state.checksum = crc32(piece, this.state.checksum);
    this.state.progress += piece.length;
  }

  /** A command has ended: the guest learns of it by STATUS and an interrupt. */
  #end(errno: number): void {
    const { state } = this;
    if (state.command === MemoryCommand.CHECKSUM && errno === 0) state.result = state.checksum;
    state.command = 0;
    state.error = errno;
    state.status |= errno === 0 ? Status.DONE : Status.DONE | Status.FAILED;
    state.completed += 1;
    this.#interrupt(state.vector);
  }

  #interrupt(vector: number): void {
    const { state } = this;
    state.interrupts[vector] = (state.interrupts[vector] ?? 0) + 1;
    state.interruptStatus |= 1 << vector;
    this.raise(vector);
  }

  #acknowledge(vectors: number): void {
    this.state.interruptStatus &= ~vectors;
    if (this.state.interruptStatus === 0) this.lower();
  }

  #setPeriod(ms: number): void {
    this.state.period = Math.min(ms, MAX_PERIOD);
    this.#startClock();
  }

  /** The clock follows PERIOD, also a PERIOD that has just been loaded. */
  #startClock(): void {
    this.#clock?.close();
    this.#clock =
      this.state.period === 0
        ? null
        : this.every(this.state.period, () => {
            this.state.ticks += 1;
          });
  }
}

function errnoOf(error: unknown): number {
  return error instanceof FerryError ? error.errno : Errno.EIO;
}
