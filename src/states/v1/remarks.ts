import { clearThenSet } from './clear-then-set.ts';
import { V1State, v1Bits } from './device-state.ts';
import { type DriverAction, driverActions } from './driver-actions.ts';
import { fsmPath } from './fsm.ts';
import type { ChangeRemark } from './tables.ts';

/** What holds of a change whatever the rules are. */
const GENERAL: readonly ChangeRemark[] = [
  [
    V1State.RESUMING,
    V1State.STOP_COPY,
    'A case of its own: the state is deserialized and serialized again, which validates what was restored. ' +
      'If the deserialization fails the state is ERROR, and the saving part is ignored.',
  ],
  [
    V1State.RESUMING,
    V1State.PRE_COPY,
    'A case of its own: the state is deserialized, then the device runs and is traced. ' +
      'If the deserialization fails the state is ERROR, and the saving part is ignored.',
  ],
];

/** What is known of a change: by one rule set, and in general. */
export function changeRemarks(from: number, to: number, own: readonly ChangeRemark[]): readonly string[] {
  const remarks = [...own, ...GENERAL].filter(([before, after]) => before === from && after === to);
  const difference = algorithmDifference(from, to);
  return [...remarks.map(([, , text]) => text), ...(difference === null ? [] : [difference.text])];
}

/** How the two published algorithms for combinations take one change differently. */
export interface AlgorithmDifference {
  readonly from: number;
  readonly to: number;
  /** The states after `from` by clear-then-set. */
  readonly clearThenSet: readonly number[];
  /** The states after `from` by the shortest path of the machine of January 2022, P2P states left out; null: refused. */
  readonly shortestPath: readonly number[] | null;
  /** What a driver does only when the bits are flipped one at a time. */
  readonly extraActions: readonly DriverAction[];
  /** The difference in one sentence. */
  readonly text: string;
}

/** The difference between the published algorithms for a change between valid states; null when there is none. */
export function algorithmDifference(from: number, to: number): AlgorithmDifference | null {
  const flips = clearThenSet(from, to);
  const shortest = fsmPath(from, to, { p2p: false });
  if (shortest !== null && flips.join() === shortest.join()) return null;
  if (!isOrdinary(from) || !isOrdinary(to)) return null;
  const extraActions = surplus(actionsOf(from, flips), shortest === null ? [] : actionsOf(from, shortest));
  const text =
    `The published algorithms differ: clear-then-set goes ${way(from, flips)}` +
    (extraActions.includes('serialize') ? ' and serializes on the way' : '') +
    (shortest === null ? '; the state machine refuses it.' : `, the state machine ${way(from, shortest)}.`);
  return { from, to, clearThenSet: flips, shortestPath: shortest, extraActions, text };
}

function isOrdinary(value: number): boolean {
  return value >= V1State.STOP && value <= V1State.RESUMING;
}

function actionsOf(from: number, path: readonly number[]): readonly DriverAction[] {
  return path.flatMap((to, index) => driverActions(path[index - 1] ?? from, to));
}

function surplus(more: readonly DriverAction[], less: readonly DriverAction[]): readonly DriverAction[] {
  return more.filter((action) => !less.includes(action));
}

function way(from: number, path: readonly number[]): string {
  return [from, ...path].map(v1Bits).join(' -> ');
}
