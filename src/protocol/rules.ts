import { Errno } from '../errors/index.ts';
import type { Rule } from './payload.ts';

const ADDRESS_SPACE = 1n << 64n;

/** Rule: `argsz` is at least the size of the structure. */
export function argszAtLeast(size: number, source: string): Rule<{ readonly argsz: number }> {
  return { field: 'argsz', must: `be at least ${size}`, source, holds: ({ argsz }) => argsz >= size };
}

/** Rule: a range of 64-bit addresses does not pass 2^64. It may end there. */
export function rangeFits<A extends string, S extends string>(
  start: A,
  size: S,
  source: string,
  errno: number = Errno.EOVERFLOW,
): Rule<Readonly<Record<A | S, bigint | number>>> {
  const must = `not pass 2^64 together with ${size}`;
  const holds = (value: Readonly<Record<A | S, bigint | number>>): boolean =>
    BigInt(value[start]) + BigInt(value[size]) <= ADDRESS_SPACE;
  return { field: start, must, source, errno, holds };
}

/** Whether a bigint is a power of two. */
export function isPowerOfTwo(value: bigint): boolean {
  return value > 0n && (value & (value - 1n)) === 0n;
}
