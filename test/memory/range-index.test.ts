import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ranged, RangeIndex } from '../../src/memory/range-index.ts';

const range = (start: number, end: number): Ranged => ({ start: BigInt(start), end: BigInt(end) });

describe('RangeIndex', () => {
  it('equals a list that is searched from end to end', () => {
    const operation = fc.record({
      kind: fc.constantFrom('add', 'add', 'remove', 'find'),
      start: fc.nat(60),
      length: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const index = new RangeIndex<Ranged>();
        let model: Ranged[] = [];
        for (const { kind, start, length } of operations) {
          const item = range(start, start + length);
          const clash = model.find((other) => other.start < item.end && other.end > item.start);
          const overlapping = index.overlapping(item.start, item.end);
          expect(overlapping !== undefined).toBe(clash !== undefined);
          if (overlapping !== undefined) expect(model).toContain(overlapping);
          const found = model.find((other) => other.start <= item.start && item.start < other.end);
          expect(index.find(item.start)).toBe(found);
          if (kind === 'add' && clash === undefined) {
            index.add(item);
            model.push(item);
          }
          if (kind === 'remove') {
            const exact = model.find((other) => other.start === item.start && other.end === item.end);
            expect(index.remove(item.start, item.end)).toBe(exact);
            model = model.filter((other) => other !== exact);
          }
          expect(index.size).toBe(model.length);
        }
        const all = [...model].sort((a, b) => (a.start < b.start ? -1 : 1));
        expect(index.removeAll()).toEqual(all);
        expect(index.size).toBe(0);
        expect(index.find(all[0]?.start ?? 0n)).toBeUndefined();
      }),
    );
  });

  it('forgets a range that it has just found', () => {
    const index = new RangeIndex<Ranged>();
    index.add(range(10, 20));
    expect(index.find(15n)).toBeDefined();
    index.remove(10n, 20n);
    expect(index.find(15n)).toBeUndefined();
  });

  it('looks at no more than log2(n) + 2 of 65,535 ranges to find one', () => {
    let looks = 0;
    class Counted implements Ranged {
      readonly #start: bigint;
      constructor(start: bigint) {
        this.#start = start;
      }
      get start(): bigint {
        looks++;
        return this.#start;
      }
      get end(): bigint {
        return this.#start + 10n;
      }
    }
    const index = new RangeIndex<Counted>();
    const count = 65_535;
    for (let number = 0; number < count; number++) index.add(new Counted(BigInt(number) * 16n));
    let most = 0;
    for (let number = 0; number < count; number += 61) {
      for (const address of [BigInt(number) * 16n, BigInt(number) * 16n + 9n, BigInt(number) * 16n + 12n]) {
        looks = 0;
        const found = index.find(address);
        expect(found === undefined).toBe(address % 16n === 12n);
        most = Math.max(most, looks);
      }
    }
    expect(most).toBeLessThanOrEqual(Math.ceil(Math.log2(count)) + 2);
    expect(most).toBeGreaterThan(0);
  });

  it('finds the same range again at once', () => {
    let looks = 0;
    const index = new RangeIndex<Ranged>();
    for (let number = 0; number < 1000; number++) {
      index.add({
        get start() {
          looks++;
          return BigInt(number) * 16n;
        },
        end: BigInt(number) * 16n + 16n,
      });
    }
    const first = index.find(5000n);
    looks = 0;
    expect(index.find(5001n)).toBe(first);
    expect(looks).toBe(1);
  });
});
