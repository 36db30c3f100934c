import type { PrecopyEstimate } from '../migration-end.ts';

/** What one device still has to give, as far as it can tell. */
export interface DeviceRest {
  /** Bytes that have to be loaded before anything else is of use; null when it can't tell. */
  readonly initial: number | null;
  /** Bytes that a round of PRE_COPY could move now; null when it can't tell. */
  readonly movable: number | null;
  /** Bytes in all, what comes only after the stop included; null when it can't tell. */
  readonly total: number | null;
}

/**
 * What a device's two answers say together. The size of a stop-copy overlaps with what PRE_COPY tells: the size may or
 * may not include it, so the larger one is what is left, as max(size - (initial + dirty), 0) more than the estimate.
 */
export function restOf(estimate: PrecopyEstimate | null, size: bigint | null): DeviceRest {
  const movable = estimate === null ? null : Number(estimate.initialBytes + estimate.dirtyBytes);
  const initial = estimate === null ? null : Number(estimate.initialBytes);
  if (size === null) return { initial, movable, total: null };
  return { initial, movable, total: Math.max(Number(size), movable ?? 0) };
}

/** What a group still has to give: the sum, or null when one of them can't tell. */
export function sumOf(bytes: readonly (number | null)[]): number | null {
  let sum = 0;
  for (const each of bytes) {
    if (each === null) return null;
    sum += each;
  }
  return sum;
}
