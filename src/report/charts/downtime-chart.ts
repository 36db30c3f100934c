import type { Phase, Timeline } from '../../engine/index.ts';
import { type ToneName, tone } from '../palette.ts';
import { formatMs } from '../quantities.ts';
import { legend, TEXT, timeAxis } from './axes.ts';
import { type Chart, WIDTH } from './chart.ts';

const COLOURS: Readonly<Partial<Record<Phase, ToneName>>> = {
  stop: 'pre-copy-p2p',
  'stop-copy': 'stop-copy',
  verify: 'resuming',
  switch: 'accent',
  run: 'running',
  'roll-back': 'error',
};
const ESTIMATED = 'estimated before';

/** Of what the blackout was made, against what was estimated and allowed; null when the guest was never stopped. */
export function downtimeChart({ phases, assessments }: Timeline): Chart | null {
  const first = phases.findLastIndex(({ phase }) => phase === 'stop');
  const parts = first === -1 ? [] : phases.slice(first).filter(({ phase }) => phase in COLOURS);
  if (parts.length === 0) return null;
  const last = assessments.at(-1);
  const estimate = last?.estimatedDowntimeMs ?? null;
  const limit = last?.downtimeLimitMs ?? null;
  const total = parts.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const most = Math.max(total, estimate ?? 0, limit ?? 0) * 1.04;
  return {
    ...{ id: 'downtime', title: 'Downtime', width: WIDTH, height: 190 },
    caption: `Downtime: ${formatMs(total)}: ${parts.map(tipOf).join(', ')}`,
    option: {
      textStyle: TEXT,
      legend: legend([...parts.map(({ phase }) => phase), ...(estimate === null ? [] : [ESTIMATED])]),
      grid: { left: 110, right: 70, top: 58, bottom: 30 },
      xAxis: timeAxis(0, most),
      yAxis: rows(estimate === null ? ['measured'] : ['measured', 'estimated']),
      series: [
        ...parts.map(({ phase, durationMs }, i) => ({
          ...part(
            phase,
            COLOURS[phase] ?? 'soft',
            [durationMs],
            i === parts.length - 1 ? formatMs(total) : null,
          ),
          ...(i === 0 && limit !== null ? { markLine: limitLine(limit) } : {}),
        })),
        ...(estimate === null ? [] : [part(ESTIMATED, 'soft', ['-', estimate], formatMs(estimate))]),
      ],
    },
    tips: [
      ...parts.map((each) => [tipOf(each)]),
      ...(estimate === null ? [] : [['', `estimated before the stop: ${formatMs(estimate)}`]]),
    ],
  };
}

function part(name: string, colour: ToneName, data: readonly (number | string)[], sum: string | null) {
  return {
    ...{
      type: 'bar',
      stack: 'blackout',
      barWidth: 28,
      name,
      color: tone(colour),
      emphasis: { disabled: true },
    },
    data: [...data],
    ...(sum === null ? {} : { label: { ...TEXT, show: true, position: 'right', formatter: sum } }),
  };
}

function tipOf({ phase, durationMs }: Timeline['phases'][number]): string {
  return `${phase} ${formatMs(durationMs)}`;
}

function rows(names: readonly string[]) {
  return {
    ...{ type: 'category', inverse: true, data: [...names] },
    ...{ axisLine: { show: false }, axisTick: { show: false }, axisLabel: TEXT },
  } as const;
}

function limitLine(ms: number) {
  return {
    silent: true,
    symbol: 'none',
    lineStyle: { color: tone('bad'), type: 'solid', width: 1.5 },
    label: { ...TEXT, color: tone('bad'), formatter: `allowed: ${formatMs(ms)}`, position: 'start' },
    data: [{ xAxis: ms }],
  };
}
