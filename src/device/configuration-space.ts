import { Errno } from '../errors/index.ts';
import type { BarContent } from './bar.ts';
import { DeviceError } from './device-error.ts';

/** One register of the configuration space, as data. Masks are of the register's value, up to 32 bits. */
export interface ConfigRegister {
  /** Such as `COMMAND` or `MSI.CONTROL`. */
  readonly name: string;
  readonly offset: number;
  /** Bytes; a register of 3 is the class code. */
  readonly size: 1 | 2 | 3 | 4;
  /** The value after reset; 0 unless given. */
  readonly reset?: number;
  /** Bits that software sets and clears; none unless given. */
  readonly writable?: number;
  /** Bits that software clears by writing 1 (RW1C); none unless given. */
  readonly clearable?: number;
  /** Bits that the device itself changes, so that they don't tell two devices apart; none unless given. */
  readonly volatile?: number;
  /** Writable bits of which software can choose some values only; any other leaves them as they are. */
  readonly choices?: { readonly mask: number; readonly values: readonly number[] };
}

/** A part of the configuration space behind callbacks: whatever they keep is not among its bytes. */
export interface ConfigWindow {
  /** What the offsets of the callbacks count from. */
  readonly origin: number;
  readonly offset: number;
  readonly size: number;
  readonly content: BarContent;
}

/** A configuration space: its size and everything in it. */
export interface ConfigLayout {
  /** 256, or 4096 for PCI Express. */
  readonly size: number;
  readonly registers: readonly ConfigRegister[];
  readonly windows: readonly ConfigWindow[];
}

/** A place in the configuration space that is filled in when it is read. */
interface Live {
  readonly register: ConfigRegister;
  readonly value: () => number;
}

/**
 * A PCI configuration space: bytes with write masks, all of it data. It answers accesses of any size and alignment;
 * what no register covers reads 0. The bytes are handed in, as they are part of the device's state.
 */
export class ConfigurationSpace {
  readonly size: number;
  readonly registers: readonly ConfigRegister[];
  /** The bytes as they are now, little-endian. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #writable: Uint8Array;
  readonly #clearable: Uint8Array;
  readonly #volatile: Uint8Array;
  readonly #reset: Uint8Array;
  readonly #windows: readonly ConfigWindow[];
  readonly #choosing: readonly ConfigRegister[];
  readonly #live: Live[] = [];
  readonly #changed: () => void;

  /** `bytes` holds the reset values ({@link resetBytes}); `changed` is called after each write by software. */
  constructor(layout: ConfigLayout, bytes: Uint8Array, changed: () => void) {
    this.size = layout.size;
    this.registers = layout.registers;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#writable = layOut(layout, (register) => register.writable);
    this.#clearable = layOut(layout, (register) => register.clearable);
    this.#volatile = layOut(layout, (register) => register.volatile);
    this.#reset = resetBytes(layout);
    this.#windows = layout.windows;
    this.#choosing = layout.registers.filter(({ choices }) => choices !== undefined);
    this.#changed = changed;
  }

  /** Reads `length` bytes at `offset` into `target[at...]`; they lie inside. Throws what a window's callback throws. */
  read(offset: number, target: Uint8Array, at: number, length: number): void {
    for (const { register, value } of this.#live) {
      if (register.offset < offset + length && offset < register.offset + register.size) {
        this.set(register, value());
      }
    }
    target.set(this.bytes.subarray(offset, offset + length), at);
    this.#eachWindow(offset, length, (window, from, count) => {
      window.content.read(from - window.origin, target, at + from - offset, count);
    });
  }

  /**
   * Writes `length` bytes of `source[at...]` at `offset`, as software does: by the masks. They lie inside. Throws what
   * a window's callback throws; no register has changed then.
   */
  write(offset: number, source: Uint8Array, at: number, length: number): void {
    this.#eachWindow(offset, length, (window, from, count) => {
      window.content.write(from - window.origin, source, at + from - offset, count);
    });
    const before = this.#choosing.map((register) => this.get(register));
    this.#writeByMasks(offset, source, at, length);
    for (const [i, register] of this.#choosing.entries()) this.#refuseOtherChoices(register, before[i] ?? 0);
    this.#changed();
  }

  #writeByMasks(offset: number, source: Uint8Array, at: number, length: number): void {
    for (let i = 0; i < length; i++) {
      const byte = offset + i;
      const old = this.bytes[byte] ?? 0;
      const value = source[at + i] ?? 0;
      const writable = this.#writable[byte] ?? 0;
      const cleared = value & (this.#clearable[byte] ?? 0);
      this.bytes[byte] = ((old & ~writable) | (value & writable)) & ~cleared;
    }
  }

  #refuseOtherChoices(register: ConfigRegister, before: number): void {
    if (register.choices === undefined) return;
    const { mask } = register.choices;
    const value = this.get(register);
    if (!isChoice(register, value)) this.set(register, (value & ~mask) | (before & mask));
  }

  #eachWindow(
    offset: number,
    length: number,
    visit: (window: ConfigWindow, from: number, count: number) => void,
  ): void {
    for (const window of this.#windows) {
      const from = Math.max(offset, window.offset);
      const to = Math.min(offset + length, window.offset + window.size);
      if (from < to) visit(window, from, to - from);
    }
  }

  /** The register of this name; null when the layout has none. */
  find(name: string): ConfigRegister | null {
    return this.registers.find((candidate) => candidate.name === name) ?? null;
  }

  /** The register of this name. Throws DeviceError when the layout has none. */
  register(name: string): ConfigRegister {
    const register = this.find(name);
    if (register !== null) return register;
    throw new DeviceError('ERR_DEVICE_DECLARATION', `the configuration space has no register ${name}`, {
      errno: Errno.EINVAL,
      context: { register: name },
    });
  }

  /** A register's value. */
  get(register: ConfigRegister): number {
    return valueIn(this.#view, register);
  }

  /** Sets a register's value as the device does: regardless of the masks. */
  set(register: ConfigRegister, value: number): void {
    for (let i = 0; i < register.size; i++) this.bytes[register.offset + i] = value >>> (8 * i);
  }

  /** From now on a register's value is asked for whenever it is read. */
  provide(name: string, value: () => number): void {
    this.#live.push({ register: this.register(name), value });
  }

  /**
   * Checks that `bytes` can be this configuration space: what software can't write must be equal, or it is another
   * device, and so must be one that chose what this one lacks. Throws DeviceError EINVAL that names the first register
   * that differs.
   */
  checkLoadable(bytes: Uint8Array): void {
    const reset = this.#reset;
    for (let i = 0; i < this.size; i++) {
      const changing = (this.#writable[i] ?? 0) | (this.#clearable[i] ?? 0) | (this.#volatile[i] ?? 0);
      if ((((bytes[i] ?? 0) ^ (reset[i] ?? 0)) & ~changing) !== 0) throw this.#mismatch(i, bytes);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (const register of this.#choosing) {
      if (!isChoice(register, valueIn(view, register))) throw this.#mismatch(register.offset, bytes);
    }
  }

  #mismatch(byte: number, bytes: Uint8Array): DeviceError {
    const register = this.registers.find(({ offset, size }) => byte >= offset && byte < offset + size);
    return new DeviceError(
      'ERR_DEVICE_MIGRATION',
      `the state is of another device: its configuration space differs in ${register?.name ?? 'a reserved byte'}`,
      {
        errno: Errno.EINVAL,
        context: {
          register: register?.name ?? null,
          offset: byte,
          theirs: bytes[byte] ?? 0,
          ours: this.bytes[byte] ?? 0,
        },
      },
    );
  }
}

/** The bytes of a configuration space after reset. */
export function resetBytes(layout: ConfigLayout): Uint8Array {
  return layOut(layout, (register) => register.reset);
}

/** Whether software can have chosen a register's value. */
export function isChoice({ choices }: ConfigRegister, value: number): boolean {
  return choices === undefined || choices.values.includes((value & choices.mask) >>> 0);
}

function valueIn(view: DataView, { offset, size }: ConfigRegister): number {
  if (size === 4) return view.getUint32(offset, true);
  if (size === 2) return view.getUint16(offset, true);
  const low = view.getUint8(offset);
  return size === 1 ? low : low | (view.getUint16(offset + 1, true) << 8);
}

/** One value per register, as bytes of the whole space. */
function layOut(layout: ConfigLayout, pick: (register: ConfigRegister) => number | undefined): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  for (const register of layout.registers) {
    const value = pick(register) ?? 0;
    for (let i = 0; i < register.size; i++) bytes[register.offset + i] = value >>> (8 * i);
  }
  return bytes;
}
