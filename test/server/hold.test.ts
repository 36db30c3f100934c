import { describe, expect, it } from 'vitest';
import { Hold } from '../../src/server/hold.ts';

/** A hold on a clock that the test turns. */
function heldOn() {
  const clock = { now: 1000 };
  return { clock, hold: new Hold(() => clock.now) };
}

describe('a hold', () => {
  it('is not active at first and has never been', () => {
    expect(heldOn().hold.report()).toEqual({
      active: false,
      lengthMs: 0,
      longestMs: 0,
      count: 0,
      expired: false,
      droppedWrites: 0,
    });
  });

  it('begins once and ends once', () => {
    const { hold } = heldOn();
    expect([hold.begin(), hold.begin()]).toEqual([true, false]);
    expect(hold.active).toBe(true);
    expect([hold.end(), hold.end()]).toEqual([true, false]);
    expect(hold.active).toBe(false);
  });

  it('tells its length while it lasts, and that of the last one afterwards', () => {
    const { hold, clock } = heldOn();
    hold.begin();
    clock.now += 40;
    expect(hold.report()).toMatchObject({ active: true, lengthMs: 40, longestMs: 40, count: 1 });
    clock.now += 2;
    hold.begin();
    hold.end();
    clock.now += 1000;
    expect(hold.report()).toMatchObject({ active: false, lengthMs: 42, longestMs: 42, count: 1 });
  });

  it('keeps the longest, the current one included', () => {
    const { hold, clock } = heldOn();
    for (const length of [5, 30, 10]) {
      hold.begin();
      clock.now += length;
      hold.end();
    }
    expect(hold.report()).toMatchObject({ lengthMs: 10, longestMs: 30, count: 3 });
    hold.begin();
    clock.now += 31;
    expect(hold.report()).toMatchObject({ lengthMs: 31, longestMs: 31, count: 4 });
  });

  it('is new each time: neither expired nor without its state, but what was dropped is counted for good', () => {
    const { hold } = heldOn();
    hold.begin();
    hold.expired = true;
    hold.stateElsewhere = true;
    hold.droppedWrites += 2;
    hold.end();
    expect(hold.stateElsewhere).toBe(false);
    expect(hold.report()).toMatchObject({ expired: false, droppedWrites: 2 });
    hold.begin();
    expect(hold.report()).toMatchObject({ active: true, expired: false, droppedWrites: 2, count: 2 });
  });
});
