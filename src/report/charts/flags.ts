import type { Milestone, Timeline } from '../../engine/index.ts';
import { FLAG_CHARACTER } from './shapes.ts';

/** A moment that is marked by a line, and said at its head. */
export interface Flag {
  readonly text: string;
  readonly atMs: number;
  /** The one that decides who owns the devices. */
  readonly isDecisive: boolean;
}

/** A flag with its place: texts that would cover each other are above each other. */
export interface PlacedFlag extends Flag {
  /** 0 is next to the chart. */
  readonly level: number;
}

const MAX_LEVELS = 5;

/** What was decided, or said by a side whose decisions are not known here. */
export function flagsOf({ milestones, side }: Timeline, fromMs: number, toMs: number): readonly Flag[] {
  const told = new Set(milestones.flatMap((each) => (each.type === 'decision' ? [each.end] : [])));
  const other = side === 'source' ? 'destination' : 'source';
  const flags = milestones.flatMap((milestone): Flag[] => {
    const text = textOf(milestone, !told.has(other));
    const isDecisive =
      milestone.type === 'decision' && /^(?:COMMIT|ABORT|RECOVERED)$/.test(milestone.decision);
    return text === null ? [] : [{ text, atMs: milestone.atMs, isDecisive }];
  });
  return flags.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
}

function textOf(milestone: Milestone, otherIsSilent: boolean): string | null {
  switch (milestone.type) {
    case 'decision':
      return `${milestone.end}: ${milestone.decision}`;
    case 'reconnected':
      return 'reconnected';
    default:
      return otherIsSilent && milestone.direction === 'received' ? `heard ${milestone.kind}` : null;
  }
}

/** Puts each flag as low as there is room; what finds none is told by its line alone. */
export function placeFlags(
  flags: readonly Flag[],
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  width: number,
): readonly PlacedFlag[] {
  const ends: number[] = [];
  const scale = width / Math.max(toMs - fromMs, Number.MIN_VALUE);
  return flags.map((flag) => {
    const half = (flag.text.length * FLAG_CHARACTER) / 2;
    const at = Math.min(Math.max((flag.atMs - fromMs) * scale, half), width - half);
    const free = ends.findIndex((end) => end < at - half);
    const level = free === -1 ? ends.length : free;
    if (level >= MAX_LEVELS) return { ...flag, text: '', level: 0 };
    ends[level] = at + half + FLAG_CHARACTER;
    return { ...flag, level };
  });
}
