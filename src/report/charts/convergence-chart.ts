import type { Assessment, Timeline } from '../../engine/index.ts';
import { tone } from '../palette.ts';
import { formatBytes, formatMs } from '../quantities.ts';
import { legend, numberAxis, TEXT, unitFor } from './axes.ts';
import { type Chart, WIDTH } from './chart.ts';

/** When the greatest is so many times the smallest, only a logarithmic axis shows both. */
const WIDE = 50;
/** From one line of a logarithmic axis to the next: 16 B, 256 B, 4 KiB, 64 KiB, 1 MiB. */
const STEP = 16;
/** More bars would be lines; the table has all rounds. */
const MAX_BARS = 80;

/** What was left before each decision, against what would have fitted; null without pre-copy. */
export function convergenceChart({ assessments }: Pick<Timeline, 'assessments'>): Chart | null {
  const points = onePerRound(assessments).slice(-MAX_BARS);
  const known = points.flatMap(({ left, fits }) => [left, fits]).filter((bytes) => bytes !== null);
  if (known.length === 0) return null;
  const positive = known.filter((bytes) => bytes > 0);
  const [least, most] = [Math.min(...positive), Math.max(...known)];
  const isWide = most > WIDE * least;
  const unit = isWide ? { name: '', bytes: 1 } : unitFor(most);
  const floor = isWide ? STEP ** Math.floor(Math.log(least / 2) / Math.log(STEP)) : 0;
  const inUnits = (bytes: number | null): number | null =>
    bytes === null ? null : Math.max(bytes, floor) / unit.bytes;
  return {
    ...{ id: 'convergence', title: 'Convergence', width: WIDTH, height: 280 },
    caption: `Convergence: what was left and what would have fitted into the downtime, at ${points.length} moments`,
    option: {
      textStyle: TEXT,
      legend: legend([LEFT, FITS]),
      grid: { left: 70, right: 20, top: 54, bottom: 30 },
      xAxis: roundAxis(points),
      yAxis: { ...numberAxis(unit.name), ...(isWide ? logarithmic(floor) : {}) },
      series: [
        {
          ...{
            type: 'bar',
            name: LEFT,
            barMaxWidth: 44,
            color: tone('accent'),
            emphasis: { disabled: true },
          },
          itemStyle: { borderRadius: [3, 3, 0, 0] },
          data: points.map(({ left }) => inUnits(left)),
        },
        {
          ...{
            type: 'line',
            name: FITS,
            step: 'middle',
            symbol: 'circle',
            symbolSize: 7,
            emphasis: { disabled: true },
          },
          ...{ color: tone('warn'), lineStyle: { width: 2, type: [6, 4] } },
          data: points.map(({ fits }) => inUnits(fits)),
        },
      ],
    },
    tips: [points.map(tipOf), points.map(tipOf)],
  };
}

const LEFT = 'left to move';
const FITS = 'fits into the allowed downtime';

/** The last assessment of each round counts: one that waited before the switch was asked again. */
function onePerRound(assessments: readonly Assessment[]): readonly Assessment[] {
  return assessments.filter(({ round }, i) => assessments[i + 1]?.round !== round);
}

function roundAxis(points: readonly Assessment[]) {
  return {
    type: 'category',
    data: points.map(({ round }) => (round === 0 ? 'before round 1' : `after ${round}`)),
    axisLine: { lineStyle: { color: tone('line') } },
    axisTick: { show: false },
    axisLabel: { ...TEXT, color: tone('soft'), hideOverlap: true },
  } as const;
}

function logarithmic(floor: number) {
  const formatter = (bytes: number): string => formatBytes(Math.round(bytes)).replace('.0', '');
  const axisLabel = { ...TEXT, color: tone('soft'), formatter };
  return { type: 'log', logBase: STEP, min: floor, startValue: floor, axisLabel } as const;
}

function tipOf({ round, left, fits, estimatedDowntimeMs, downtimeLimitMs }: Assessment): string {
  const when = round === 0 ? 'before round 1' : `after round ${round}`;
  const rest = left === null ? 'nobody could tell what was left' : `${formatBytes(left)} left`;
  const room = fits === null ? 'nothing measured yet' : `${formatBytes(fits)} would fit`;
  const blackout = estimatedDowntimeMs === null ? 'unknown' : `about ${formatMs(estimatedDowntimeMs)}`;
  return `${when}: ${rest}, ${room}; downtime ${blackout}, ${formatMs(downtimeLimitMs)} allowed`;
}
