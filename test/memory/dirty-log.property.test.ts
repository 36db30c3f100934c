import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DirtyLog } from '../../src/memory/index.ts';
import { bitsOf, logging } from './reports.ts';

const U64 = 1n << 64n;
const KIB4 = 4096n;

it('equals a naive model for every page size and range', () => {
  const exponent = fc.integer({ min: 9, max: 15 });
  const spot = fc.record({ iova: fc.nat(200_000), length: fc.integer({ min: 1, max: 20_000 }) });
  const step = fc.oneof(
    { weight: 2, arbitrary: spot.map((write) => ({ kind: 'mark' as const, ...write, pageSize: 0 })) },
    fc.tuple(spot, exponent).map(([at, shift]) => ({ kind: 'report' as const, ...at, pageSize: 2 ** shift })),
  );
  const base = fc.constantFrom(0n, 12_345n << 20n, U64 - (1n << 20n));
  fc.assert(
    fc.property(
      base,
      fc.integer({ min: 12, max: 16 }),
      fc.array(step, { maxLength: 30 }),
      (origin, shift, steps) => {
        const logPage = 2 ** shift;
        const log = logging(BigInt(logPage));
        const model = new Set<number>();
        for (const { kind, iova, length, pageSize } of steps) {
          const at = origin + BigInt(iova);
          if (kind === 'mark') {
            log.mark(at, length);
            for (let page = Math.floor(iova / logPage); page * logPage < iova + length; page++)
              model.add(page);
          } else {
            const found = bitsOf(log.report(at, BigInt(length), BigInt(pageSize)));
            expect(found).toEqual(naiveReport(model, logPage, iova, length, pageSize));
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});

it('reports at least what was written when writes are too scattered to be exact', () => {
  const spots = fc.array(fc.bigInt({ min: 0n, max: U64 - 1n }), { maxLength: 60 });
  fc.assert(
    fc.property(spots, (written) => {
      const log = new DirtyLog({ maxChunks: 4 });
      log.start(KIB4, []);
      for (const iova of written) log.mark(iova, 1);
      for (const iova of written) expect(bitsOf(log.report(iova, 1n, KIB4))).toEqual([0]);
      log.report(0n, U64, 1n << 44n);
      expect(bitsOf(log.report(0n, U64, 1n << 44n))).toEqual([]);
    }),
  );
});

/** What a report must be, byte by byte; clears the model like the log. */
function naiveReport(
  dirty: Set<number>,
  logPage: number,
  iova: number,
  length: number,
  pageSize: number,
): number[] {
  const end = iova + length;
  const bits: number[] = [];
  for (let bit = 0; iova + bit * pageSize < end; bit++) {
    const from = iova + bit * pageSize;
    const to = Math.min(end, from + pageSize);
    for (let page = Math.floor(from / logPage); page * logPage < to; page++) {
      if (!dirty.has(page)) continue;
      bits.push(bit);
      break;
    }
  }
  for (const page of dirty) if (page * logPage >= iova && (page + 1) * logPage <= end) dirty.delete(page);
  return bits;
}
