import type { Phase, Timeline } from '../engine/index.ts';

/** A time in which a device was in one state. */
export interface Segment {
  /** A state's number; null: it did not answer. */
  readonly state: number | null;
  /** Milliseconds since the migration began. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** What the changes of one device make of the time until `endMs`. Before the first one, nothing is known. */
export function segmentsOf(changes: Timeline['source'], device: number, endMs: number): readonly Segment[] {
  const own = changes.filter((change) => change.device === device);
  return own.flatMap(({ state, atMs }, i) => {
    const toMs = Math.min(own[i + 1]?.atMs ?? endMs, endMs);
    return toMs > atMs ? [{ state, fromMs: atMs, toMs }] : [];
  });
}

/** The last blackout of the guest, in milliseconds since the migration began; null when it was never stopped. */
export function blackoutOf({ phases, totalMs }: Timeline): Span | null {
  return since('stop', phases, totalMs);
}

/** What a destination knows of it: from the end of the data until its devices run. */
export function handOverOf({ phases, totalMs }: Timeline): Span | null {
  return since('verify', phases, totalMs);
}

/** A part of the time, in milliseconds since the migration began. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

function since(name: Phase, phases: Timeline['phases'], totalMs: number): Span | null {
  const stop = phases.findLastIndex(({ phase }) => phase === name);
  const from = phases[stop];
  if (from === undefined) return null;
  const last = phases.findLast(({ phase }, i) => i >= stop && (phase === 'run' || phase === 'roll-back'));
  const toMs = last === undefined ? totalMs : last.startMs + last.durationMs;
  return { fromMs: from.startMs, toMs: Math.max(toMs, from.startMs) };
}
