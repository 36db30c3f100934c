import { describe, expect, it } from 'vitest';
import { shortened, unitFor } from '../../../src/report/charts/axes.ts';
import { convergenceChart } from '../../../src/report/charts/convergence-chart.ts';
import { downtimeChart } from '../../../src/report/charts/downtime-chart.ts';
import { flagsOf, placeFlags } from '../../../src/report/charts/flags.ts';
import { rowsOf } from '../../../src/report/charts/rows.ts';
import { binsOf, throughputChart } from '../../../src/report/charts/throughput-chart.ts';
import { timelineWith } from '../timelines.ts';

describe('the rows of devices', () => {
  it('have both sides of a device next to each other', () => {
    expect(rowsOf(timelineWith({}, 2)).map(({ label }) => label)).toEqual([
      ...['source  /run/a0.sock', 'destination  /run/b0.sock'],
      ...['source  /run/a1.sock', 'destination  /run/b1.sock'],
    ]);
  });

  it('leave out a side that has not told', () => {
    const devices = { source: ['/run/a.sock'], destination: null };
    expect(rowsOf(timelineWith({ destination: [], devices })).length).toBe(1);
  });
});

describe('throughput', () => {
  it('is what was moved in each part of the time', () => {
    const timeline = timelineWith();
    const bins = binsOf(timeline);
    const moved = bins.reduce((sum, { rate, fromMs, toMs }) => sum + (rate * (toMs - fromMs)) / 1000, 0);
    expect(moved).toBeCloseTo(97 * 1024 ** 2, 0);
    expect(bins[0]?.rate).toBe(0);
    expect(bins[50]?.rate).toBeCloseTo(96 * 1024 ** 2, 0);
  });

  it('is not drawn when nothing was moved', () => {
    expect(throughputChart(timelineWith({ samples: [] }))).toBeNull();
    expect(throughputChart(timelineWith({ totalMs: 0 }))).toBeNull();
  });
});

describe('convergence', () => {
  it('tells of each moment what was left and what would have fitted', () => {
    const tips = convergenceChart(timelineWith())?.tips[0];
    expect(tips).toEqual([
      'before round 1: 64.0 MiB left, nothing measured yet; downtime unknown, 300.0 ms allowed',
      'after round 1: 1.0 MiB left, 30.0 MiB would fit; downtime about 42.0 ms, 300.0 ms allowed',
    ]);
  });

  it('counts a round once, as it was judged last', () => {
    const [first] = timelineWith().assessments;
    if (first === undefined) throw new Error('nothing was assessed');
    const assessments = [first, { ...first, left: 5 }];
    expect(convergenceChart({ assessments })?.tips[0]).toEqual([expect.stringContaining('5 B left')]);
  });

  it('is not drawn without pre-copy, or when nobody could tell anything', () => {
    expect(convergenceChart({ assessments: [] })).toBeNull();
    const unknown = {
      atMs: 1,
      round: 0,
      left: null,
      fits: null,
      estimatedDowntimeMs: null,
      downtimeLimitMs: 1,
    };
    expect(convergenceChart({ assessments: [unknown] })).toBeNull();
  });

  it('can be drawn when nothing is left at all', () => {
    const none = { atMs: 1, round: 0, left: 0, fits: null, estimatedDowntimeMs: 1, downtimeLimitMs: 1 };
    expect(convergenceChart({ assessments: [none] })?.tips[0]?.length).toBe(1);
  });
});

describe('downtime', () => {
  it('is made of the phases from the stop to the run', () => {
    expect(downtimeChart(timelineWith())?.tips).toEqual([
      ...[['stop 10.0 ms'], ['stop-copy 10.0 ms'], ['verify 10.0 ms'], ['run 10.0 ms']],
      ['', 'estimated before the stop: 42.0 ms'],
    ]);
  });

  it('is not drawn when the guest was never stopped', () => {
    expect(downtimeChart(timelineWith({ phases: [] }))).toBeNull();
  });
});

describe('flags', () => {
  const window = { fromMs: 0, toMs: 100 };
  const flag = (atMs: number, text = 'a text of some length') => ({ atMs, text, isDecisive: false });

  it('do not cover each other', () => {
    const levels = placeFlags([flag(50), flag(51), flag(99)], window, 800).map(({ level }) => level);
    expect(levels).toEqual([0, 1, 0]);
  });

  it('lose their texts when there is no room left', () => {
    const placed = placeFlags(
      Array.from({ length: 9 }, () => flag(50)),
      window,
      800,
    );
    expect(placed.filter(({ text }) => text !== '').length).toBe(5);
  });

  it('have what was heard only of a side whose decisions are not known', () => {
    const heard = { type: 'message', end: 'source', direction: 'received', kind: 'READY', atMs: 5 } as const;
    const ready = { type: 'decision', end: 'destination', decision: 'READY', atMs: 4 } as const;
    const texts = (milestones: Parameters<typeof timelineWith>[0]) =>
      flagsOf(timelineWith(milestones), 0, 10).map(({ text }) => text);
    expect(texts({ milestones: [heard] })).toEqual(['heard READY']);
    expect(texts({ milestones: [ready, heard] })).toEqual(['destination: READY']);
  });
});

describe('an axis', () => {
  it.each([
    [0, 'B'],
    [1023, 'B'],
    [1024, 'KiB'],
    [5 * 1024 ** 3, 'GiB'],
    [1024 ** 7, 'TiB'],
  ])('of %d bytes is in %s', (most, name) => {
    expect(unitFor(most).name).toBe(name);
  });

  it('keeps the end of a long name', () => {
    expect(shortened('/var/run/vm/very/long/disk.sock', 12)).toBe('…g/disk.sock');
    expect(shortened('short', 12)).toBe('short');
  });
});
