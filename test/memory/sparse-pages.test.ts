import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SparsePages } from '../../src/memory/sparse-pages.ts';

const LAST_PAGE = 2 ** 52;

function pagesIn(pages: SparsePages, first: number, end: number): Set<number> {
  const found = new Set<number>();
  pages.forEachRun(first, end, (start, stop) => {
    expect(start).toBeGreaterThanOrEqual(first);
    expect(stop).toBeLessThanOrEqual(end);
    expect(start).toBeLessThan(stop);
    for (let page = start; page < stop; page++) found.add(page);
  });
  return found;
}

const page = fc.oneof(
  fc.nat(20_000),
  fc.nat(20_000).map((back) => LAST_PAGE - 20_001 + back),
);
const range = fc.tuple(page, fc.integer({ min: 1, max: 6000 })).map(([first, length]) => ({
  first,
  end: Math.min(LAST_PAGE, first + length),
}));
const operations = fc.array(fc.record({ add: fc.boolean(), range }), { maxLength: 20 });

describe('SparsePages', () => {
  it('is exactly the set of what was added while it fits', () => {
    fc.assert(
      fc.property(operations, range, (steps, window) => {
        const pages = new SparsePages();
        const model = new Set<number>();
        for (const {
          add,
          range: { first, end },
        } of steps) {
          add ? pages.add(first, end) : pages.remove(first, end);
          for (let at = first; at < end; at++) add ? model.add(at) : model.delete(at);
        }
        const expected = [...model].filter((at) => at >= window.first && at < window.end);
        expect(pagesIn(pages, window.first, window.end)).toEqual(new Set(expected));
      }),
      { numRuns: 50 },
    );
  });

  it('stays within its bound and loses nothing when writes are scattered', () => {
    const scattered = fc.array(fc.bigInt({ min: 0n, max: BigInt(LAST_PAGE - 1) }).map(Number), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(scattered, fc.integer({ min: 1, max: 16 }), (written, maxChunks) => {
        const pages = new SparsePages(maxChunks);
        for (const at of written) {
          pages.add(at, at + 1);
          expect(pages.chunkCount).toBeLessThanOrEqual(Math.max(2, maxChunks));
        }
        for (const at of written) expect([...pagesIn(pages, at, at + 1)]).toEqual([at]);
        pages.remove(0, LAST_PAGE);
        expect(pages.chunkCount).toBe(0);
      }),
    );
  });

  it('keeps a coarse bit of which only a part is removed', () => {
    const pages = new SparsePages(2);
    for (const at of [0, 2 ** 30, 2 ** 40, 2 ** 50]) pages.add(at, at + 1);
    pages.remove(0, 1);
    expect(pagesIn(pages, 0, 1)).toEqual(new Set([0]));
    pages.remove(1, LAST_PAGE);
    expect(pagesIn(pages, 0, 1)).toEqual(new Set([0]));
  });

  it('takes no memory for a range that was only looked at or removed', () => {
    const pages = new SparsePages();
    pages.remove(0, LAST_PAGE);
    pages.forEachRun(0, LAST_PAGE, () => expect.unreachable());
    expect(pages.chunkCount).toBe(0);
  });

  it('gives memory back when what it held is removed', () => {
    const pages = new SparsePages();
    pages.add(0, 100_000);
    expect(pages.chunkCount).toBe(25);
    pages.remove(4096, 100_000);
    expect(pages.chunkCount).toBe(1);
  });

  it('holds a range longer than all its chunks', () => {
    const pages = new SparsePages(4);
    pages.add(0, LAST_PAGE);
    expect(pages.chunkCount).toBeLessThanOrEqual(4);
    let total = 0;
    pages.forEachRun(0, LAST_PAGE, (start, end) => {
      total += end - start;
    });
    expect(total).toBe(LAST_PAGE);
  });
});
