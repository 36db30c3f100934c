import type { Bar, BarIndex, Bars } from './bar.ts';
import { wrongDeclaration } from './declaration-error.ts';
import { checkDoorbells } from './doorbell.ts';

/** The indices of BARs, ascending. */
export const BAR_INDICES: readonly BarIndex[] = [0, 1, 2, 3, 4, 5];

/** The smallest BARs that have room for their type bits (PCI 3.0, section 6.2.5.1). */
const SMALLEST = { memory: 16, io: 4 } as const;

/** The BAR of an index, which may be any number. */
export function barAt(bars: Bars, index: number): Bar | undefined {
  const known = BAR_INDICES.find((candidate) => candidate === index);
  return known === undefined ? undefined : bars[known];
}

/** The first index at which a 32-bit BAR can be added; undefined when all are taken. */
export function freeIndex(bars: Bars): BarIndex | undefined {
  return BAR_INDICES.find((index) => bars[index] === undefined && barAt(bars, index - 1)?.bits !== 64);
}

/** Throws DeviceError (ERR_DEVICE_DECLARATION) for BARs that PCI does not allow. */
export function checkBars(bars: Bars): void {
  for (const index of BAR_INDICES) {
    const bar = bars[index];
    if (bar !== undefined) checkBar(bars, index, bar);
  }
}

function checkBar(bars: Bars, index: BarIndex, bar: Bar): void {
  const { size, space, bits, prefetchable, doorbells } = bar;
  const context = { bar: index, size };
  const isPower = Number.isSafeInteger(size) && size > 0 && Number.isInteger(Math.log2(size));
  if (!isPower || size < SMALLEST[space]) {
    throw wrongDeclaration(
      `BAR${index}: its size is a power of two, at least ${SMALLEST[space]}, not ${size}`,
      context,
    );
  }
  if (space === 'io' && (bits === 64 || prefetchable)) {
    throw wrongDeclaration(`BAR${index}: an I/O BAR is neither 64-bit nor prefetchable`, context);
  }
  if (bits === 32 && size > 2 ** 31) {
    throw wrongDeclaration(`BAR${index}: above 2 GiB a BAR has 64 bits`, context);
  }
  if (bits === 64 && (index === 5 || barAt(bars, index + 1) !== undefined)) {
    throw wrongDeclaration(`BAR${index}: a 64-bit BAR needs the next index as well`, context);
  }
  if (contradictsAccess(bar)) {
    throw wrongDeclaration(
      `BAR${index}: who maps it or rings in it does not keep to access ${bar.access}`,
      context,
    );
  }
  checkDoorbells(size, doorbells);
}

function contradictsAccess({ access = 'read-write', sharing, doorbells }: Bar): boolean {
  return (access !== 'read-write' && sharing !== null) || (access === 'read' && doorbells.length > 0);
}
