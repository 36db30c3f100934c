import { visible } from '../markup.ts';
import { tone } from '../palette.ts';

/** How text is set in charts. */
export const TEXT = {
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
  fontSize: 12,
  color: tone('ink'),
} as const;

const LINES = { lineStyle: { color: tone('line') } } as const;

/** An axis of time since the migration began, in milliseconds. */
export function timeAxis(fromMs: number, toMs: number) {
  const seconds = toMs - fromMs >= 3000;
  const digits = toMs - fromMs < 5 ? 2 : toMs - fromMs < 50 ? 1 : 0;
  return {
    type: 'value',
    min: fromMs,
    max: toMs,
    axisLine: { show: true, ...LINES },
    axisTick: LINES,
    splitLine: { show: false },
    axisLabel: {
      ...TEXT,
      color: tone('soft'),
      showMinLabel: fromMs === 0,
      showMaxLabel: false,
      hideOverlap: true,
      formatter: (ms: number) => (seconds ? `${round(ms / 1000, 2)} s` : `${round(ms, digits)} ms`),
    },
  } as const;
}

/** An axis of numbers, which begins at 0. */
export function numberAxis(name: string) {
  return {
    type: 'value',
    min: 0,
    name,
    nameTextStyle: { ...TEXT, color: tone('soft'), align: 'right' },
    axisLabel: { ...TEXT, color: tone('soft') },
    splitLine: LINES,
  } as const;
}

/** A legend above the chart. */
export function legend(names: readonly string[]) {
  return {
    top: 0,
    left: 0,
    itemWidth: 14,
    itemHeight: 10,
    itemGap: 16,
    textStyle: TEXT,
    data: [...names],
    selectedMode: false,
  } as const;
}

/** A unit in which the greatest of some numbers of bytes is well readable. */
export function unitFor(most: number): { readonly name: string; readonly bytes: number } {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = most < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log(most) / Math.log(1024)));
  return { name: units[step] ?? 'B', bytes: 1024 ** step };
}

/** A name that is too long keeps its end, which tells more of a path than its beginning. */
export function shortened(name: string, most: number): string {
  const text = visible(name);
  return text.length <= most ? text : `…${text.slice(text.length - most + 1)}`;
}

function round(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
