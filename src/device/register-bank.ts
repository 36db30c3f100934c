import { Errno } from '../errors/index.ts';
import type { BarContent } from './bar.ts';
import { wrongDeclaration } from './declaration-error.ts';
import { DeviceError } from './device-error.ts';
import type { NarrowRegister, RegisterMap, WideRegister } from './registers.ts';
import { isPromise } from './synchronous.ts';

/** A register at its place. */
interface Slot {
  readonly offset: number;
  readonly width: number;
  readonly end: number;
  readonly exact: boolean;
  readonly narrow: NarrowRegister | null;
  readonly wide: WideRegister | null;
}

/** The registers of a BAR. Little-endian, as PCI is. */
export class RegisterBank implements BarContent {
  readonly #byOffset = new Map<number, Slot>();
  /** Ascending. */
  readonly #slots: readonly Slot[];
  /** One register's bytes, for accesses to a part of it. */
  readonly #scratch = new Uint8Array(8);

  /** Throws DeviceError for registers that overlap, are not aligned to their width or lie beyond `size` bytes. */
  constructor(size: number, registers: RegisterMap) {
    this.#slots = Object.entries(registers)
      .map(([offset, register]) => slotOf(Number(offset), register, size))
      .sort((a, b) => a.offset - b.offset);
    for (const [i, slot] of this.#slots.entries()) {
      const next = this.#slots[i + 1];
      if (next !== undefined && next.offset < slot.end) throw misplaced(next, 'overlaps the one before');
      this.#byOffset.set(slot.offset, slot);
    }
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    const slot = this.#byOffset.get(offset);
    if (slot !== undefined && slot.width === length) load(slot, target, at);
    else this.#readParts(offset, target, at, length);
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    const slot = this.#byOffset.get(offset);
    if (slot !== undefined && slot.width === length) store(slot, source, at);
    else this.#writeParts(offset, source, at, length);
  }

  #readParts(offset: number, target: Uint8Array, at: number, length: number): void {
    const end = offset + length;
    const first = this.#checkParts(offset, end);
    target.fill(0, at, at + length);
    for (let i = first; i < this.#slots.length; i++) {
      const slot = this.#slots[i];
      if (slot === undefined || slot.offset >= end) return;
      if (slot.offset >= offset && slot.end <= end) {
        load(slot, target, at + slot.offset - offset);
        continue;
      }
      load(slot, this.#scratch, 0);
      const from = Math.max(offset, slot.offset);
      const part = this.#scratch.subarray(from - slot.offset, Math.min(end, slot.end) - slot.offset);
      target.set(part, at + from - offset);
    }
  }

  #writeParts(offset: number, source: Uint8Array, at: number, length: number): void {
    const end = offset + length;
    for (let i = this.#checkParts(offset, end); i < this.#slots.length; i++) {
      const slot = this.#slots[i];
      if (slot === undefined || slot.offset >= end) return;
      if (slot.offset >= offset && slot.end <= end) {
        store(slot, source, at + slot.offset - offset);
        continue;
      }
      load(slot, this.#scratch, 0);
      const from = Math.max(offset, slot.offset);
      const part = source.subarray(at + from - offset, at + Math.min(end, slot.end) - offset);
      this.#scratch.set(part, from - slot.offset);
      store(slot, this.#scratch, 0);
    }
  }

  /** Refuses the access before any of it happens; the index of the first register that it touches. */
  #checkParts(offset: number, end: number): number {
    const first = this.#firstAfter(offset);
    for (let i = first; i < this.#slots.length; i++) {
      const slot = this.#slots[i];
      if (slot === undefined || slot.offset >= end) break;
      if (slot.exact && (slot.offset !== offset || slot.end !== end)) {
        throw new DeviceError(
          'ERR_DEVICE_ACCESS',
          `the register at 0x${slot.offset.toString(16)} takes only whole accesses of ${slot.width} bytes`,
          { errno: Errno.EINVAL, context: { offset, length: end - offset } },
        );
      }
    }
    return first;
  }

  /** The index of the first register that ends behind `offset`. */
  #firstAfter(offset: number): number {
    let low = 0;
    let high = this.#slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#slots[middle]?.end ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function slotOf(offset: number, register: NarrowRegister | WideRegister, size: number): Slot {
  const width = register.width ?? 4;
  const narrow = register.width === 8 ? null : register;
  const wide = register.width === 8 ? register : null;
  const slot = { offset, width, end: offset + width, exact: register.exact ?? false, narrow, wide };
  if (!Number.isSafeInteger(offset) || offset < 0 || slot.end > size) throw misplaced(slot, 'lies outside');
  if (offset % width !== 0) throw misplaced(slot, 'is not aligned to its width');
  return slot;
}

function misplaced(slot: Slot, what: string): DeviceError {
  return wrongDeclaration(`the register of ${slot.width} bytes at 0x${slot.offset.toString(16)} ${what}`, {
    offset: slot.offset,
    width: slot.width,
  });
}

/** Reads a whole register into `target[at...]`. */
function load(slot: Slot, target: Uint8Array, at: number): void {
  if (slot.narrow === null) {
    const value = slot.wide?.read?.() ?? 0n;
    storeWord(target, at, Number(value & 0xffffffffn), 4);
    storeWord(target, at + 4, Number((value >> 32n) & 0xffffffffn), 4);
    return;
  }
  const value = slot.narrow.read === undefined ? 0 : slot.narrow.read();
  if (typeof value !== 'number') throw asynchronous(slot);
  storeWord(target, at, value, slot.width);
}

/** Writes a whole register from `source[at...]`. */
function store(slot: Slot, source: Uint8Array, at: number): void {
  let result: unknown;
  if (slot.narrow === null) {
    const value = BigInt(loadWord(source, at, 4)) | (BigInt(loadWord(source, at + 4, 4)) << 32n);
    result = slot.wide?.write?.(value);
  } else if (slot.narrow.write !== undefined) {
    result = slot.narrow.write(loadWord(source, at, slot.width));
  }
  if (result !== undefined && isPromise(result)) throw asynchronous(slot, result);
}

function storeWord(target: Uint8Array, at: number, value: number, width: number): void {
  for (let i = 0; i < width; i++) target[at + i] = value >>> (8 * i);
}

function loadWord(source: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value |= (source[at + i] ?? 0) << (8 * i);
  return value >>> 0;
}

function asynchronous(slot: Slot, result?: PromiseLike<unknown>): DeviceError {
  result?.then(undefined, () => undefined);
  return new DeviceError(
    'ERR_DEVICE_ASYNCHRONOUS',
    `the register at 0x${slot.offset.toString(16)} is not synchronous: note what is to be done in the state and kick() work`,
    { errno: Errno.EIO, context: { offset: slot.offset } },
  );
}
