import type { Synchronous } from './synchronous.ts';

/** What every register may say. */
interface RegisterOptions {
  /**
   * Refuse accesses of another size or alignment with EINVAL. By default they are composed: a part of the register is
   * read or merged into its current value, and a wider access is split over its neighbours.
   */
  readonly exact?: boolean;
}

/** A register of up to 32 bits; its value is a number. */
export interface NarrowRegister extends RegisterOptions {
  /** Bytes; 4 by default. */
  readonly width?: 1 | 2 | 4;
  /** The register's value; a register without it reads 0. */
  readonly read?: () => number;
  /** Takes a written value; a register without it ignores writes. */
  readonly write?: (value: number) => Synchronous;
}

/** A register of 64 bits; its value is a bigint. */
export interface WideRegister extends RegisterOptions {
  /** Bytes. */
  readonly width: 8;
  /** The register's value; a register without it reads 0. */
  readonly read?: () => bigint;
  /** Takes a written value; a register without it ignores writes. */
  readonly write?: (value: bigint) => Synchronous;
}

/** A register: what reading it yields and what writing it does. Both are synchronous. */
export type Register = NarrowRegister | WideRegister;

/**
 * Registers by their offset in the BAR, in bytes, a multiple of their width. Offsets without a register read 0 and
 * ignore writes.
 */
export type RegisterMap = { readonly [offset: number]: Register };

/** Declares a register; `width: 8` makes its values bigints. */
export function register(options: Register): Register {
  return options;
}

/** Declares a register that ignores writes. */
export function readOnly(read: () => number, width?: 1 | 2 | 4): Register;
export function readOnly(read: () => bigint, width: 8): Register;
export function readOnly(read: (() => number) | (() => bigint), width: 1 | 2 | 4 | 8 = 4): Register {
  // The overloads tie the type of the value to the width.
  return { width, read } as Register;
}

/** Declares a register that reads 0: a doorbell, a command. */
export function writeOnly(write: (value: number) => Synchronous, width: 1 | 2 | 4 = 4): Register {
  return { width, write };
}

/** Declares a register that always reads `value` and ignores writes. */
export function constant(value: number, width: 1 | 2 | 4 = 4): Register {
  return { width, read: () => value };
}

/**
 * Declares a register that is a number of the declared state: `field(this.state, 'period')`. Give the width that the
 * number was declared with.
 */
export function field<K extends string>(
  state: { [P in K]: number },
  name: K,
  width: 1 | 2 | 4 = 4,
): Register {
  return {
    width,
    read: () => state[name],
    write: (value) => {
      state[name] = value;
    },
  };
}
