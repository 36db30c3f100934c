import { describe, expect, it } from 'vitest';
import { blackoutOf, segmentsOf } from '../../src/report/segments.ts';
import { timelineWith } from './timelines.ts';

describe('the times in which a device was in a state', () => {
  const changes = [
    { device: 0, state: 2, atMs: 5 },
    { device: 1, state: 7, atMs: 6 },
    { device: 0, state: 1, atMs: 9 },
    { device: 0, state: null, atMs: 9 },
  ];

  it('reach from one change to the next, and the last to the end', () => {
    expect(segmentsOf(changes, 0, 20)).toEqual([
      { state: 2, fromMs: 5, toMs: 9 },
      { state: null, fromMs: 9, toMs: 20 },
    ]);
  });

  it('end where the time ends', () => {
    expect(segmentsOf(changes, 1, 6)).toEqual([]);
    expect(segmentsOf(changes, 0, 7)).toEqual([{ state: 2, fromMs: 5, toMs: 7 }]);
  });
});

describe('the blackout', () => {
  it('is from the last stop until the destination runs', () => {
    expect(blackoutOf(timelineWith())).toEqual({ fromMs: 1010, toMs: 1050 });
  });

  it('lasts until the source has been brought back when it failed', () => {
    const phases = [
      { phase: 'stop', startMs: 10, durationMs: 10, bytes: 0 },
      { phase: 'pre-copy', startMs: 20, durationMs: 10, bytes: 0 },
      { phase: 'stop', startMs: 30, durationMs: 10, bytes: 0 },
      { phase: 'roll-back', startMs: 40, durationMs: 5, bytes: 0 },
    ] as const;
    expect(blackoutOf(timelineWith({ phases }))).toEqual({ fromMs: 30, toMs: 45 });
  });

  it('is none when the guest was never stopped', () => {
    expect(blackoutOf(timelineWith({ phases: [] }))).toBeNull();
  });
});
