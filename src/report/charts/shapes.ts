import type { CustomSeriesOption } from 'echarts/charts';
import { type ToneName, tone } from '../palette.ts';
import { TEXT } from './axes.ts';
import type { PlacedFlag } from './flags.ts';

/** How the library asks for the shape of an item. */
export type Renderer = NonNullable<CustomSeriesOption['renderItem']>;

/** Width of a character in a bar, about. */
const CHARACTER = 7;
/** The size of what a flag says, and the width of a character of it, about. */
const FLAG_SIZE = 11;
export const FLAG_CHARACTER = 6;
/** The narrowest that is still seen. */
const LEAST = 1.5;

/** A bar from one moment to another in a row. Its values: from, to, row, and what is written on it where there is room. */
export function bar({ fill, ink }: { readonly fill: ToneName; readonly ink: ToneName }): Renderer {
  return (params, api) => {
    const [left = 0, y = 0] = api.coord([api.value(0), api.value(2)]);
    const [right = 0] = api.coord([api.value(1), api.value(2)]);
    const area = boundsOf(params.coordSys);
    const x = Math.max(left, area.left);
    const width = Math.max(LEAST, Math.min(right, area.right) - x);
    const text = String(api.value(3));
    return {
      type: 'rect',
      shape: { x, y: y - 9, width, height: 18, r: Math.min(3, width / 2) },
      style: { fill: tone(fill) },
      ...(text.length * CHARACTER + 8 > width
        ? {}
        : {
            textContent: { type: 'text', style: { ...TEXT, fontSize: 11, text, fill: tone(ink) } },
            textConfig: { position: 'inside' },
          }),
    };
  };
}

/** A line through all rows, with its text above them. */
export function drawFlag(flags: readonly PlacedFlag[], top: number, rowHeight: number): Renderer {
  return (params, api) => {
    const flag = flags[params.dataIndex];
    const [x = 0] = api.coord([api.value(0), 0]);
    const area = boundsOf(params.coordSys);
    if (flag === undefined) return null;
    const half = (flag.text.length * FLAG_CHARACTER) / 2;
    const x0 = Math.min(Math.max(x, area.left + half), area.right - half);
    const y = top - 8 - flag.level * rowHeight;
    const y1 = flag.text === '' ? area.top : y + 6;
    return {
      type: 'group',
      children: [
        { type: 'line', shape: { x1: x, x2: x, y1, y2: area.bottom }, style: lineOf(flag) },
        { type: 'text', style: { ...captionOf(flag), x: x0, y } },
      ],
    };
  };
}

function lineOf({ isDecisive }: PlacedFlag) {
  return isDecisive
    ? ({ stroke: tone('ink'), lineWidth: 1.5, lineDash: 'solid' } as const)
    : ({ stroke: tone('soft'), lineWidth: 1, lineDash: 'dashed' } as const);
}

function captionOf({ text, isDecisive }: PlacedFlag) {
  const { fontFamily } = TEXT;
  const fill = tone(isDecisive ? 'ink' : 'soft');
  return { text, fill, fontSize: FLAG_SIZE, fontFamily, align: 'center', verticalAlign: 'middle' } as const;
}

interface Bounds {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** The area of the axes, as the library tells it. */
function boundsOf(system: object): Bounds {
  const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((key) => Number(Reflect.get(system, key)));
  const [left = 0, top = 0] = [x, y];
  return { left, top, right: left + (width ?? 0), bottom: top + (height ?? 0) };
}
