import type { Timeline } from '../../engine/index.ts';
import { stateName } from '../../states/index.ts';
import { type Segment, segmentsOf } from '../segments.ts';
import { shortened } from './axes.ts';

/** One side of a device. */
export interface Row {
  readonly label: string;
  readonly segments: readonly Segment[];
}

/** So many characters of a label are seen. */
const LABEL = 34;

/** The devices of both sides; both ends of one device stand together. A side that is not known has no rows. */
export function rowsOf({ devices, source, destination, totalMs }: Timeline): readonly Row[] {
  const numbers = [...source, ...destination].map(({ device }) => device);
  return [...new Set(numbers)]
    .sort((a, b) => a - b)
    .flatMap((device) => [
      { label: labelOf('source', devices.source, device), segments: segmentsOf(source, device, totalMs) },
      {
        label: labelOf('destination', devices.destination, device),
        segments: segmentsOf(destination, device, totalMs),
      },
    ])
    .filter(({ segments }) => segments.length > 0);
}

function labelOf(end: string, names: readonly string[] | null, device: number): string {
  const name = names?.[device];
  return `${end}  ${name === undefined ? String(device) : shortened(name, LABEL - end.length)}`;
}

/** What a state is called; one that is not known by its number. */
export function nameOf(state: number | null): string {
  return state === null ? 'no answer' : stateName(state);
}
