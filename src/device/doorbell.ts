import { wrongDeclaration } from './declaration-error.ts';
import type { DeviceError } from './device-error.ts';

/**
 * A write to a BAR that a client may signal through an eventfd instead of sending a message: KVM does so without leaving
 * the kernel (ioeventfd). The BAR's write behaviour runs then as if the message had come, with
 * - `datamatch`: this value; other values written to the same place come as messages;
 * - `shadow`: the value that the client has left in memory that it shares with the server for this;
 * - neither: 0, where only that something was written matters.
 *
 * Rings that come together are one: an eventfd counts, and the memory has the last value. A client that does not ask for
 * doorbells sends messages, so a device works without them.
 */
export interface Doorbell {
  /** Bytes from the start of the BAR, a multiple of `size`. */
  readonly offset: number;
  /** Bytes of the write. */
  readonly size: 1 | 2 | 4 | 8;
  readonly datamatch?: number | bigint;
  readonly shadow?: boolean;
}

/** Throws DeviceError (ERR_DEVICE_DECLARATION) for doorbells that a BAR of `size` bytes can't have. */
export function checkDoorbells(size: number, doorbells: readonly Doorbell[]): void {
  for (const doorbell of doorbells) {
    checkDoorbell(size, doorbell);
    const neighbours = doorbells.filter((other) => other !== doorbell && overlap(doorbell, other));
    if (!neighbours.every((other) => tellApart(doorbell, other))) {
      throw misplaced(doorbell, 'overlaps another: only other values of the same write may be others');
    }
  }
}

function checkDoorbell(barSize: number, doorbell: Doorbell): void {
  const { offset, size, datamatch, shadow } = doorbell;
  if (![1, 2, 4, 8].includes(size)) throw misplaced(doorbell, 'has 1, 2, 4 or 8 bytes');
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + size > barSize) {
    throw misplaced(doorbell, 'lies outside of its BAR');
  }
  if (offset % size !== 0) throw misplaced(doorbell, 'is not aligned to its size');
  if (datamatch === undefined) return;
  if (shadow === true)
    throw misplaced(doorbell, 'has its value from datamatch or from shadow memory, not both');
  const fits = typeof datamatch === 'bigint' || Number.isSafeInteger(datamatch);
  if (!fits || BigInt.asUintN(8 * size, BigInt(datamatch)) !== BigInt(datamatch)) {
    throw misplaced(doorbell, `matches ${datamatch}, which ${size} bytes can't be`);
  }
}

function overlap(a: Doorbell, b: Doorbell): boolean {
  return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

function tellApart(a: Doorbell, b: Doorbell): boolean {
  if (a.datamatch === undefined || b.datamatch === undefined) return false;
  return a.offset === b.offset && a.size === b.size && BigInt(a.datamatch) !== BigInt(b.datamatch);
}

function misplaced({ offset, size }: Doorbell, what: string): DeviceError {
  return wrongDeclaration(`the doorbell of ${size} bytes at 0x${offset.toString(16)} ${what}`, {
    offset,
    size,
  });
}
