import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DirtyBitmap } from '../../src/memory/index.ts';

/** All set bits, found run by run. */
function bitsOf(bitmap: DirtyBitmap): number[] {
  const bits: number[] = [];
  for (let start = bitmap.nextSet(0); start < bitmap.length; ) {
    const end = bitmap.nextClear(start);
    for (let bit = start; bit < end; bit++) bits.push(bit);
    start = bitmap.nextSet(end);
  }
  return bits;
}

const sorted = (set: Set<number>) => [...set].sort((a, b) => a - b);

describe('DirtyBitmap', () => {
  it('equals a set of numbers whatever is done to it', () => {
    const operation = fc.record({
      kind: fc.constantFrom('set', 'setRange', 'clearRange'),
      a: fc.nat(),
      b: fc.nat(),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.array(operation, { maxLength: 40 }),
        (length, operations) => {
          const bitmap = new DirtyBitmap(length);
          const model = new Set<number>();
          for (const { kind, a, b } of operations) {
            const [start = 0, end = 0] = [a % (length + 1), b % (length + 1)].sort((x, y) => x - y);
            if (kind === 'set') {
              bitmap.set(a % length);
              model.add(a % length);
            } else {
              bitmap[kind](start, end);
              for (let bit = start; bit < end; bit++)
                kind === 'setRange' ? model.add(bit) : model.delete(bit);
            }
            expect(bitmap.count).toBe(model.size);
          }
          expect(bitsOf(bitmap)).toEqual(sorted(model));
          for (let bit = 0; bit < length; bit++) {
            expect(bitmap.test(bit)).toBe(model.has(bit));
            const later = sorted(model).filter((known) => known >= bit);
            expect(bitmap.nextSet(bit)).toBe(later[0] ?? length);
          }
        },
      ),
    );
  });

  it.each([0, 1, 31, 32, 33, 63, 64, 65, 4096])(
    'sets and clears all of %i bits and nothing beyond',
    (length) => {
      const bitmap = new DirtyBitmap(length);
      expect(bitmap.nextSet(0)).toBe(length);
      expect(bitmap.nextClear(0)).toBe(0);
      bitmap.setRange(0, length);
      expect(bitmap.count).toBe(length);
      expect(bitmap.nextClear(0)).toBe(length);
      expect(bitmap.nextSet(length)).toBe(length);
      bitmap.clearRange(0, length);
      expect(bitmap.count).toBe(0);
      expect(bitmap.nextSet(0)).toBe(length);
    },
  );

  it('hands its content over and starts the next round empty', () => {
    const live = new DirtyBitmap(100);
    const round = new DirtyBitmap(100);
    round.setRange(0, 100);
    live.setRange(40, 70);
    live.takeInto(round);
    expect([live.count, round.count]).toEqual([0, 30]);
    live.set(99);
    expect(bitsOf(live)).toEqual([99]);
    expect(bitsOf(round)).toEqual(Array.from({ length: 30 }, (_, index) => 40 + index));
  });

  it('refuses what lies outside', () => {
    const bitmap = new DirtyBitmap(64);
    for (const [start, end] of [
      [-1, 3],
      [0, 65],
      [5, 4],
      [0.5, 2],
      [Number.NaN, 2],
    ] as const) {
      expect(() => bitmap.setRange(start, end)).toThrow(RangeError);
      expect(() => bitmap.clearRange(start, end)).toThrow(RangeError);
    }
    expect(() => bitmap.set(64)).toThrow(RangeError);
    expect(() => bitmap.test(-1)).toThrow(RangeError);
    expect(() => bitmap.nextSet(-1)).toThrow(RangeError);
    expect(() => bitmap.takeInto(new DirtyBitmap(63))).toThrow(RangeError);
    expect(() => bitmap.takeInto(bitmap)).toThrow(RangeError);
    expect(bitmap.count).toBe(0);
  });

  it.each([-1, 1.5, 2 ** 31, Number.NaN])('has no %d bits', (length) => {
    expect(() => new DirtyBitmap(length)).toThrow(RangeError);
  });
});
