import type { Timeline } from '../../engine/index.ts';
import { tone } from '../palette.ts';
import { formatBytes, formatMs } from '../quantities.ts';
import { blackoutOf } from '../segments.ts';
import { numberAxis, TEXT, timeAxis, unitFor } from './axes.ts';
import { type Chart, WIDTH } from './chart.ts';

/** So many parts of the time have a rate of their own. */
const BINS = 120;

/** The mean rate within a part of the time. */
export interface Bin {
  readonly fromMs: number;
  readonly toMs: number;
  /** Bytes per second. */
  readonly rate: number;
}

/** The rate over the time; null when nothing was moved. */
export function throughputChart(timeline: Timeline): Chart | null {
  const bins = binsOf(timeline);
  const most = Math.max(0, ...bins.map(({ rate }) => rate));
  if (most === 0) return null;
  const unit = unitFor(most);
  const blackout = blackoutOf(timeline);
  const inUnits = (rate: number): number => Number((rate / unit.bytes).toPrecision(6));
  return {
    ...{ id: 'throughput', title: 'Throughput', width: WIDTH, height: 240 },
    caption: `Throughput: at most ${formatBytes(most)} per second`,
    option: {
      textStyle: TEXT,
      grid: { left: 70, right: 20, top: 34, bottom: 30 },
      xAxis: timeAxis(0, timeline.totalMs),
      yAxis: numberAxis(`${unit.name}/s`),
      series: [
        {
          ...{ type: 'line', step: 'end', symbol: 'none', silent: true },
          lineStyle: { color: tone('accent'), width: 1.5 },
          areaStyle: { color: tone('accent'), opacity: 0.18 },
          data: [[0, inUnits(bins[0]?.rate ?? 0)], ...bins.map(({ toMs, rate }) => [toMs, inUnits(rate)])],
          ...(blackout === null ? {} : { markArea: shadeOf(blackout) }),
        },
        {
          ...{ type: 'custom', clip: true, emphasis: { disabled: true }, encode: { x: [0, 1], y: 2 } },
          renderItem: column,
          data: bins.map(({ fromMs, toMs, rate }) => [fromMs, toMs, inUnits(rate)]),
        },
      ],
    },
    tips: [
      [],
      bins.map(
        ({ fromMs, toMs, rate }) =>
          `${formatMs(fromMs)} to ${formatMs(toMs)}: ${formatBytes(Math.round(rate))}/s`,
      ),
    ],
  };
}

/** Rates from the bytes that had been moved by the moments that are known, as if evenly between them. */
export function binsOf({ samples, totalMs }: Pick<Timeline, 'samples' | 'totalMs'>): readonly Bin[] {
  if (totalMs <= 0) return [];
  const width = totalMs / BINS;
  let next = 0;
  const movedBy = (ms: number): number => {
    while (next < samples.length && (samples[next]?.atMs ?? 0) < ms) next += 1;
    const [before, after] = [samples[next - 1], samples[next]];
    if (before === undefined) return 0;
    if (after === undefined || after.atMs <= before.atMs) return before.bytes;
    const share = (ms - before.atMs) / (after.atMs - before.atMs);
    return before.bytes + (after.bytes - before.bytes) * share;
  };
  let moved = 0;
  return Array.from({ length: BINS }, (_, i) => {
    const [fromMs, toMs] = [i * width, (i + 1) * width];
    const now = movedBy(toMs);
    const rate = ((now - moved) / width) * 1000;
    moved = now;
    return { fromMs, toMs, rate };
  });
}

function shadeOf({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }) {
  return {
    silent: true,
    itemStyle: { color: tone('shade') },
    data: [[{ xAxis: fromMs }, { xAxis: toMs }]],
  };
}

interface Axes {
  coord(point: readonly number[]): readonly number[];
  value(dimension: number): number | string;
}

/** What is pointed at: it is not seen. */
function column(_: unknown, api: Axes) {
  const [left = 0, bottom = 0] = api.coord([Number(api.value(0)), 0]);
  const [right = 0, top = 0] = api.coord([Number(api.value(1)), Number(api.value(2))]);
  return {
    type: 'rect',
    shape: { x: left, y: Math.min(top, bottom - 4), width: right - left, height: Math.max(4, bottom - top) },
    style: { fill: tone('accent'), opacity: 0 },
  };
}
