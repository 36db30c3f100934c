import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageTracker } from '../../../src/device/state/page-tracker.ts';
import { PAGE_SIZE } from '../../../src/stream/index.ts';

function memoryOf(pages: number, value = 1): Uint8Array {
  return new Uint8Array(pages * PAGE_SIZE).fill(value);
}

/** First page, number of pages, and whether they are all zero, of every run that is left. */
function takeAll(tracker: PageTracker, limit = 1 << 20) {
  const runs: (readonly [page: number, pages: number, zero: boolean])[] = [];
  for (let run = tracker.take(limit); run !== null; run = tracker.take(limit)) {
    runs.push([run.offset / PAGE_SIZE, run.length / PAGE_SIZE, run.bytes === null]);
  }
  return runs;
}

describe('PageTracker', () => {
  it('starts with everything dirty, and what was taken is clean', () => {
    const tracker = new PageTracker(memoryOf(5));
    expect(tracker.dirtyBytes).toBe(5 * PAGE_SIZE);
    expect(takeAll(tracker)).toEqual([[0, 5, false]]);
    expect(tracker.dirtyBytes).toBe(0);
  });

  it('keeps runs within the limit, but takes a page at least', () => {
    expect(takeAll(new PageTracker(memoryOf(5)), 2 * PAGE_SIZE + 1)).toEqual([
      [0, 2, false],
      [2, 2, false],
      [4, 1, false],
    ]);
    expect(takeAll(new PageTracker(memoryOf(2)), 1)).toHaveLength(2);
  });

  it('separates pages that are all zero from others', () => {
    const memory = memoryOf(6, 0);
    memory[2 * PAGE_SIZE + 4095] = 1;
    memory[3 * PAGE_SIZE] = 1;
    expect(takeAll(new PageTracker(memory))).toEqual([
      [0, 2, true],
      [2, 2, false],
      [4, 2, true],
    ]);
  });

  const marks: readonly (readonly [offset: number, length: number, pages: readonly (readonly number[])[]])[] =
    [
      [0, 1, [[0, 1]]],
      [4095, 1, [[0, 1]]],
      [4095, 2, [[0, 2]]],
      [4096, 4096, [[1, 1]]],
      [1, 3 * 4096, [[0, 4]]],
      [4 * 4096 - 1, 1, [[3, 1]]],
      [100, 0, []],
    ];
  it.each(marks)('marks the pages that a write at %d of %d bytes touches', (offset, length, pages) => {
    const tracker = new PageTracker(memoryOf(4));
    takeAll(tracker);
    tracker.mark(offset, length);
    expect(takeAll(tracker).map(([page, count]) => [page, count])).toEqual(pages);
  });

  it('goes on behind the last run and then starts over', () => {
    const tracker = new PageTracker(memoryOf(6));
    tracker.take(3 * PAGE_SIZE);
    tracker.mark(0, 1);
    expect(takeAll(tracker)).toEqual([
      [3, 3, false],
      [0, 1, false],
    ]);
  });

  it('hands out the memory itself while all writes are reported', () => {
    const memory = memoryOf(1);
    const run = new PageTracker(memory).take(PAGE_SIZE);
    memory[5] = 77;
    expect(run?.bytes?.[5]).toBe(77);
  });

  it('finds nothing by itself while all writes are reported', () => {
    const memory = memoryOf(2);
    const tracker = new PageTracker(memory);
    takeAll(tracker);
    memory[0] = 9;
    tracker.refresh();
    expect(tracker.dirtyBytes).toBe(0);
  });
});

describe('PageTracker with a copy of what was sent', () => {
  it('hands out the copy, which no writer changes', () => {
    const memory = memoryOf(1);
    const tracker = new PageTracker(memory);
    tracker.keepCopy();
    const run = tracker.take(PAGE_SIZE);
    memory[5] = 77;
    expect(run?.bytes?.[5]).toBe(1);
    tracker.refresh();
    expect(tracker.dirtyBytes).toBe(PAGE_SIZE);
  });

  it('finds exactly the pages that differ, also the very last byte', () => {
    const memory = memoryOf(40);
    const tracker = new PageTracker(memory);
    tracker.keepCopy();
    takeAll(tracker);
    memory[3 * PAGE_SIZE] = 9;
    memory[40 * PAGE_SIZE - 1] = 9;
    memory[7 * PAGE_SIZE] = 9;
    memory[7 * PAGE_SIZE] = 1;
    tracker.refresh();
    expect(takeAll(tracker)).toEqual([
      [3, 1, false],
      [39, 1, false],
    ]);
  });

  it('sends the last run again when the copy begins while it is on its way', () => {
    const memory = memoryOf(4);
    const tracker = new PageTracker(memory);
    tracker.take(2 * PAGE_SIZE);
    tracker.take(PAGE_SIZE);
    tracker.keepCopy();
    expect(takeAll(tracker)).toEqual([
      [3, 1, false],
      [2, 1, false],
    ]);
  });

  it('never leaves a page clean whose last hand-out differs from the memory', () => {
    const step = fc.oneof(
      fc.record({ sort: fc.constant('write' as const), at: fc.nat(6 * PAGE_SIZE - 1), value: fc.nat(3) }),
      fc.record({ sort: fc.constant('take' as const), pages: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ sort: fc.constant('refresh' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.boolean(), (steps, late) => {
        const memory = memoryOf(6, 0);
        const received = new Uint8Array(memory.length).fill(0xee);
        const tracker = new PageTracker(memory);
        if (!late) tracker.keepCopy();
        const take = (limit: number) => {
          const run = tracker.take(limit);
          if (run !== null) received.set(run.bytes ?? new Uint8Array(run.length), run.offset);
          return run !== null;
        };
        for (const [index, each] of steps.entries()) {
          if (late && index === 10) tracker.keepCopy();
          if (each.sort === 'take') take(each.pages * PAGE_SIZE);
          else if (each.sort === 'refresh') tracker.refresh();
          else {
            memory[each.at] = each.value;
            if (late && index < 10) tracker.mark(each.at, 1);
          }
        }
        if (late && steps.length <= 10) tracker.keepCopy();
        tracker.refresh();
        while (take(1 << 20));
        expect(Buffer.compare(received, memory)).toBe(0);
        expect(tracker.dirtyBytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
