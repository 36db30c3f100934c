import type { Bar, BarContent, BarOptions } from './bar.ts';
import type { Doorbell } from './doorbell.ts';

/** A BAR of `size` bytes with this behind it. */
export function makeBar(
  size: number,
  content: BarContent,
  { space = 'memory', bits = 32, prefetchable = false, access }: BarOptions,
  doorbells: readonly Doorbell[] = [],
): Bar {
  const bar = { size, space, bits, prefetchable, content, doorbells, sharing: null };
  return access === undefined ? bar : { ...bar, access };
}
