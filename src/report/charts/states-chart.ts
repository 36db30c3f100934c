import type { Timeline } from '../../engine/index.ts';
import { lookOf, tone } from '../palette.ts';
import { formatMs } from '../quantities.ts';
import type { Segment } from '../segments.ts';
import { legend, TEXT, timeAxis } from './axes.ts';
import { type Chart, WIDTH } from './chart.ts';
import { flagsOf, type PlacedFlag, placeFlags } from './flags.ts';
import { nameOf, type Row, rowsOf } from './rows.ts';
import { bar, drawFlag, type Renderer } from './shapes.ts';

/** More rows would be a wall; the table below the chart has all devices. */
const MAX_ROWS = 48;
const ROW = 26;
const LEFT = 236;
const RIGHT = 20;
const BOTTOM = 34;
const FLAG_ROW = 15;

/** A part of the time, and how it is shown. */
export interface Window {
  readonly id: string;
  readonly title: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** What is 0 on the axis, in milliseconds since the migration began. */
  readonly originMs: number;
  /** Only what decides who owns the devices is marked. */
  readonly isTerse: boolean;
}

/** What is drawn together: one series of the library, and what its items say. */
interface Layer {
  readonly series: ReturnType<typeof series> & { readonly color?: string };
  readonly tips: readonly string[];
}

/** The states of the devices of both sides in a part of the time, with what was decided and said. */
export function statesChart(timeline: Timeline, window: Window): Chart {
  const { id, title, fromMs, toMs, originMs } = window;
  const rows = rowsOf(timeline).slice(0, MAX_ROWS);
  const flags = flagsIn(timeline, window);
  const top = 30 + FLAG_ROW * (1 + Math.max(-1, ...flags.map(({ level }) => level)));
  const states = stateLayers(rows, window);
  const layers = [phaseLayer(timeline, window), ...states, flagLayer(flags, window, top)];
  return {
    ...{ id, title, width: WIDTH, height: top + (rows.length + 1) * ROW + BOTTOM },
    caption: `${title}: the states of ${rows.length} devices from ${formatMs(fromMs)} to ${formatMs(toMs)}`,
    option: {
      textStyle: TEXT,
      legend: legend(states.map(({ series }) => series.name)),
      grid: { left: LEFT, right: RIGHT, top, bottom: BOTTOM },
      xAxis: timeAxis(fromMs - originMs, toMs - originMs),
      yAxis: rowAxis(['phase', ...rows.map(({ label }) => label)]),
      series: layers.map(({ series }) => series),
    },
    tips: layers.map(({ tips }) => tips),
  };
}

function phaseLayer({ phases }: Timeline, window: Window): Layer {
  const shown = phases
    .map(({ phase, startMs, durationMs }) => ({ phase, fromMs: startMs, toMs: startMs + durationMs }))
    .filter((each) => isIn(each, window));
  const look = { fill: 'phase', ink: 'soft' } as const;
  const values = shown.map((each) => [...placed(each, window), 0, each.phase]);
  return {
    series: series('phase', bar(look), values),
    tips: shown.map(({ phase, fromMs, toMs }) => `phase ${phase}: ${spanOf(fromMs, toMs)}`),
  };
}

/** One for each state, so that the legend has it. */
function stateLayers(rows: readonly Row[], window: Window): readonly Layer[] {
  const drawn = rows.flatMap(({ label, segments }, row) =>
    segments.filter((each) => isIn(each, window)).map((segment) => ({ row: row + 1, label, ...segment })),
  );
  return [...new Set(drawn.map(({ state }) => state))].map((state) => {
    const own = drawn.filter((each) => each.state === state);
    const [name, look] = [nameOf(state), lookOf(state)];
    const values = own.map((each) => [...placed(each, window), each.row, name]);
    return {
      series: { ...series(name, bar(look), values), color: tone(look.fill) },
      tips: own.map(({ label, fromMs, toMs }) => `${label}: ${name}, ${spanOf(fromMs, toMs)}`),
    };
  });
}

function flagsIn(timeline: Timeline, window: Window): readonly PlacedFlag[] {
  const flags = flagsOf(timeline, window.fromMs, window.toMs);
  const wanted = flags.filter(({ isDecisive }) => isDecisive || !window.isTerse);
  return placeFlags(wanted, window, WIDTH - LEFT - RIGHT);
}

function flagLayer(flags: readonly PlacedFlag[], window: Window, top: number): Layer {
  const values = flags.map(({ atMs }) => [...placed({ fromMs: atMs, toMs: atMs }, window), 0, '']);
  return {
    series: { ...series('flags', drawFlag(flags, top, FLAG_ROW), values), clip: false },
    tips: flags.map(({ text, atMs }) => `${text} at ${formatMs(atMs)}`),
  };
}

type Span = Pick<Segment, 'fromMs' | 'toMs'>;

function isIn({ fromMs, toMs }: Span, window: Window): boolean {
  return toMs > window.fromMs && fromMs < window.toMs;
}

function placed({ fromMs, toMs }: Span, { originMs }: Window): readonly number[] {
  return [fromMs - originMs, toMs - originMs];
}

function spanOf(fromMs: number, toMs: number): string {
  return `${formatMs(toMs - fromMs)}, from ${formatMs(fromMs)} to ${formatMs(toMs)}`;
}

function rowAxis(labels: readonly string[]) {
  return {
    type: 'category',
    inverse: true,
    data: [...labels],
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { ...TEXT, interval: 0 },
  } as const;
}

function series(name: string, renderItem: Renderer, data: readonly (readonly (string | number)[])[]) {
  return {
    type: 'custom',
    clip: true,
    name,
    renderItem,
    data: data.map((value) => [...value]),
    encode: { x: [0, 1], y: 2 },
    emphasis: { disabled: true },
  };
}
