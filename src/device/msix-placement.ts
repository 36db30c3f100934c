import type { Bar, Bars } from './bar.ts';
import { barAt, freeIndex } from './bar-rules.ts';
import { wrongDeclaration } from './declaration-error.ts';
import type { MsixDeclaration } from './interrupt-declaration.ts';
import { pbaSize, tableSize } from './msix-table.ts';
import { NOTHING } from './overlay-content.ts';
import type { RegionArea } from './served-device.ts';

/** Where the MSI-X table and the pending bits are. */
export interface MsixPlacement {
  readonly vectors: number;
  readonly bar: number;
  /** Offsets in the BAR. */
  readonly table: number;
  readonly pba: number;
}

/** A BAR of its own has at least a page, so that nothing else shares the page. */
const SMALLEST_BAR = 4096;

/**
 * Places MSI-X in the BAR that its declaration names, or in one that is added. Throws DeviceError
 * (ERR_DEVICE_DECLARATION) where that can't be.
 */
export function placeMsix(
  bars: Bars,
  declared: MsixDeclaration,
): { readonly bars: Bars; readonly msix: MsixPlacement } {
  const { vectors, table = 0 } = declared;
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > 2048) {
    throw wrongDeclaration(`MSI-X has 1 to 2048 vectors, not ${vectors}`, { vectors });
  }
  const { pba = table + tableSize(vectors) } = declared;
  const named = declared.bar !== undefined;
  const all = named ? bars : withOwnBar(bars, Math.max(table + tableSize(vectors), pba + pbaSize(vectors)));
  const index = declared.bar ?? freeIndex(bars) ?? -1;
  const msix = { vectors, bar: index, table, pba };
  checkPlace(barAt(all, index), msix);
  return { bars: all, msix };
}

function withOwnBar(bars: Bars, bytes: number): Bars {
  const index = freeIndex(bars);
  if (index === undefined) {
    throw wrongDeclaration('no BAR is free for the MSI-X table: name one with msix.bar', {});
  }
  const size = Math.max(SMALLEST_BAR, 2 ** Math.ceil(Math.log2(bytes)));
  const bar: Bar = {
    size,
    space: 'memory',
    bits: 32,
    prefetchable: false,
    content: NOTHING,
    doorbells: [],
    sharing: null,
  };
  return { ...bars, [index]: bar };
}

function checkPlace(bar: Bar | undefined, { vectors, bar: index, table, pba }: MsixPlacement): void {
  const context = { bar: index, table, pba };
  if (bar?.space !== 'memory') {
    throw wrongDeclaration(`MSI-X is in a memory BAR, and BAR${index} is none`, context);
  }
  if ((bar.access ?? 'read-write') !== 'read-write') {
    throw wrongDeclaration(
      `an MSI-X table is read and written: BAR${index} allows only ${bar.access}`,
      context,
    );
  }
  const places = [
    { offset: table, size: tableSize(vectors) },
    { offset: pba, size: pbaSize(vectors) },
  ] as const;
  for (const place of places) {
    if (place.offset % 8 !== 0 || !(place.offset >= 0) || place.offset + place.size > bar.size) {
      throw wrongDeclaration(`MSI-X table and PBA are 8-byte aligned and inside BAR${index}`, context);
    }
    if (bar.sharing?.areas.some((area) => overlap(area, place))) {
      throw wrongDeclaration(
        `a client that maps BAR${index} would not reach the MSI-X table: leave it out of mmap`,
        context,
      );
    }
  }
  if (overlap(places[0], places[1])) throw wrongDeclaration('MSI-X table and PBA overlap', context);
}

function overlap(a: RegionArea, b: RegionArea): boolean {
  return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}
