import { littleEndian } from '../protocol/index.ts';
import { ClientError } from './client-error.ts';
import type { Operation } from './operation.ts';
import { readRegion, writeRegion } from './region-access.ts';
import type { TransferLimits } from './transfer-limits.ts';

/** Bytes of a register. */
export type RegisterSize = 1 | 2 | 4 | 8;

/**
 * The bytes of a register in the host's byte order, which the protocol uses throughout ("all data is in the endianness
 * of the host system"). Throws ClientError ERR_CLIENT_ARGUMENT when the value does not fit into `size` bytes.
 */
export function registerBytes(size: RegisterSize, value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(size);
  putRegister(new DataView(bytes.buffer), 0, size, value);
  return bytes;
}

/** Writes a register's value at `at`. Throws like {@link registerBytes}, before it writes. */
export function putRegister(view: DataView, at: number, size: RegisterSize, value: number | bigint): void {
  if (typeof value === 'bigint') {
    if (BigInt.asUintN(64, value) !== value || size !== 8) throw unfit(size, value);
    view.setBigUint64(at, value, littleEndian);
    return;
  }
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size) || size === 8)
    throw unfit(size, value);
  if (size === 1) view.setUint8(at, value);
  else if (size === 2) view.setUint16(at, value, littleEndian);
  else view.setUint32(at, value, littleEndian);
}

/** The value of a register of 1, 2 or 4 bytes. */
export function registerValue(view: DataView, at: number, size: 1 | 2 | 4): number {
  if (size === 1) return view.getUint8(at);
  return size === 2 ? view.getUint16(at, littleEndian) : view.getUint32(at, littleEndian);
}

function unfit(size: number, value: number | bigint): ClientError {
  const message = `${value} is no value of ${size} bytes`;
  return new ClientError('ERR_CLIENT_ARGUMENT', message, { size, value });
}

/** Reads a register of 1, 2 or 4 bytes. */
export function* readRegister(
  limits: TransferLimits,
  region: number,
  offset: number | bigint,
  size: 1 | 2 | 4,
): Operation<number> {
  const bytes = yield* readRegion(limits, region, offset, size);
  return registerValue(new DataView(bytes.buffer), 0, size);
}

/** Reads a register of 8 bytes. */
export function* readWideRegister(
  limits: TransferLimits,
  region: number,
  offset: number | bigint,
): Operation<bigint> {
  const bytes = yield* readRegion(limits, region, offset, 8);
  return new DataView(bytes.buffer).getBigUint64(0, littleEndian);
}

/** Writes a register. Throws ClientError ERR_CLIENT_ARGUMENT when the value does not fit into it. */
export function* writeRegister(
  limits: TransferLimits,
  region: number,
  offset: number | bigint,
  size: RegisterSize,
  value: number | bigint,
): Operation<void> {
  yield* writeRegion(limits, region, offset, registerBytes(size, value));
}
