import { describe, expect, it } from 'vitest';
import { DirtyPages } from '../../../src/engine/guest-memory/dirty-pages.ts';

const PAGE = 4096;

/** Two adjacent regions of four pages, and one far behind them. */
function pages() {
  const dirty = new DirtyPages(
    [0x1_0000n, 0x1_4000n, 0xffff_ffff_ffff_c000n].map((iova) => ({ iova, bytes: new Uint8Array(4 * PAGE) })),
  );
  const marked = (): string[] =>
    dirty.bitmaps.map((bits) =>
      Array.from({ length: bits.length }, (_, i) => (bits.test(i) ? 1 : 0)).join(''),
    );
  return { dirty, marked };
}

describe('DirtyPages', () => {
  it.each<[string, bigint, bigint, string[]]>([
    ['one byte', 0x1_1fffn, 1n, ['0100', '0000', '0000']],
    ['two bytes of two pages', 0x1_1fffn, 2n, ['0110', '0000', '0000']],
    ['a range over the border of two regions', 0x1_3000n, 0x2001n, ['0001', '1100', '0000']],
    ['a range that begins before them', 0n, 0x1_0001n, ['1000', '0000', '0000']],
    ['a range that ends behind them', 0x1_7fffn, 0x10_0000n, ['0000', '0001', '0000']],
    ['the end of the address space', 2n ** 64n - 1n, 1n, ['0000', '0000', '0001']],
    ['more than the address space', 0n, 2n ** 65n, ['1111', '1111', '1111']],
    ['nothing', 0x1_0000n, 0n, ['0000', '0000', '0000']],
    ['a length below nothing', 0x1_0000n, -5n, ['0000', '0000', '0000']],
    ['what is none of the guest memory', 0x2_0000n, 0x1000n, ['0000', '0000', '0000']],
  ])('marks every page that %s touches', (_, iova, length, expected) => {
    const { dirty, marked } = pages();
    dirty.range(iova, length);
    expect(marked()).toEqual(expected);
    expect(dirty.bytes).toBe(BigInt(expected.join('').replaceAll('0', '').length * PAGE));
  });

  it('takes offsets in a region, cut to it: a device may log in pages that are larger than the region', () => {
    const { dirty, marked } = pages();
    dirty.within(0, 3 * PAGE, 1 << 20);
    dirty.within(1, -PAGE, PAGE + 1);
    dirty.within(7, 0, 1);
    expect(marked()).toEqual(['0001', '1000', '0000']);
  });
});
