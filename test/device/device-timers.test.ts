import { describe, expect, it } from 'vitest';
import { DeviceTimers } from '../../src/device/device-timers.ts';
import { FakeTimers } from '../helpers/fake-host.ts';

function make() {
  const clock = new FakeTimers();
  const timers = new DeviceTimers();
  const ticks: string[] = [];
  return { clock, timers, ticks, note: (what: string) => () => void ticks.push(what) };
}

describe('DeviceTimers', () => {
  it('tick from the first resumption on', () => {
    const { clock, timers, ticks, note } = make();
    timers.every(10, note('every'));
    timers.after(15, note('after'));
    clock.advance(100);
    expect(ticks).toEqual([]);
    timers.resume(clock);
    clock.advance(35);
    expect(ticks).toEqual(['every', 'after', 'every', 'every']);
  });

  it('stand still in a pause, and start with their full time afterwards', () => {
    const { clock, timers, ticks, note } = make();
    timers.resume(clock);
    timers.every(10, note('every'));
    timers.after(15, note('after'));
    clock.advance(12);
    timers.pause();
    expect(clock.count).toBe(0);
    clock.advance(100);
    expect(ticks).toEqual(['every']);
    timers.resume(clock);
    clock.advance(9);
    expect(ticks).toEqual(['every']);
    clock.advance(6);
    expect(ticks).toEqual(['every', 'every', 'after']);
  });

  it('tick once however often they are resumed', () => {
    const { clock, timers, ticks, note } = make();
    timers.every(10, note('every'));
    timers.resume(clock);
    timers.resume(clock);
    clock.advance(10);
    expect(ticks).toEqual(['every']);
  });

  it('can be closed, also by themselves and more than once', () => {
    const { clock, timers, ticks, note } = make();
    timers.resume(clock);
    const first = timers.every(10, note('first'));
    const second = timers.every(10, () => {
      ticks.push('second');
      second.close();
    });
    clock.advance(10);
    first.close();
    first.close();
    clock.advance(50);
    expect(ticks).toEqual(['first', 'second']);
    expect(clock.count).toBe(0);
  });

  it('that tick once can be forgotten; the others stay', () => {
    const { clock, timers, ticks, note } = make();
    timers.resume(clock);
    timers.every(10, note('every'));
    timers.after(10, note('after'));
    timers.forgetPending();
    clock.advance(10);
    expect(ticks).toEqual(['every']);
    timers.close();
    clock.advance(100);
    expect(ticks).toEqual(['every']);
    expect(clock.count).toBe(0);
  });
});

describe('a period that began in another process', () => {
  it('goes on where it was, and the next ones are whole', () => {
    const host = new FakeTimers();
    const timers = new DeviceTimers();
    let ticks = 0;
    timers.every(1000, () => {
      ticks += 1;
    });
    timers.adopt([{ ms: 1000, leftMs: 300 }]);
    timers.resume(host);
    host.advance(299);
    expect(ticks).toBe(0);
    host.advance(1);
    expect(ticks).toBe(1);
    host.advance(999);
    expect(ticks).toBe(1);
    host.advance(1);
    expect(ticks).toBe(2);
  });

  it('is not that of a timer with another period', () => {
    const host = new FakeTimers();
    const timers = new DeviceTimers();
    let ticks = 0;
    timers.every(1000, () => {
      ticks += 1;
    });
    timers.adopt([{ ms: 500, leftMs: 1 }]);
    timers.resume(host);
    host.advance(999);
    expect(ticks).toBe(0);
  });

  it('is told with what is left of it', () => {
    const timers = new DeviceTimers();
    timers.every(60_000, () => {});
    timers.after(5, () => {});
    const [phase, ...more] = timers.phases();
    expect(more).toEqual([]);
    expect(phase?.ms).toBe(60_000);
    expect(phase?.leftMs).toBeGreaterThan(50_000);
    expect(phase?.leftMs).toBeLessThanOrEqual(60_000);
  });
});
