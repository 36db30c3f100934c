import { clearThenSet } from './clear-then-set.ts';
import { V1_STATE_MASK, V1State } from './device-state.ts';
import { type DriverAction, driverActions } from './driver-actions.ts';
import { FsmState, fsmBits, fsmPath } from './fsm.ts';

/** One step that a driver carries out as a whole or not at all. */
export interface ChangeStep {
  readonly from: number;
  readonly to: number;
  readonly actions: readonly DriverAction[];
  /** Whether this goes back after a failure. */
  readonly unwinding: boolean;
}

/** How a change ended: in the new state (`worked`), back in the old one, or in ERROR. */
export interface ChangeOutcome {
  readonly state: number;
  readonly worked: boolean;
}

/**
 * A change under way: yields one step at a time, is told whether that worked, and returns how it ended. It neither
 * waits nor throws, so that drivers of any kind can use it.
 */
export type Change = Generator<ChangeStep, ChangeOutcome, boolean>;

/**
 * A change by clear-then-set. After a failure it goes back to the old state by the same rule; should that fail as well,
 * or should a deserialization fail, the state is ERROR, and what was still to be done is left (kvm list, 13 December
 * 2021; linux-kernel, 29 September 2021). `from` and `to` are states that a device can be in.
 */
export function* changeByFlips(from: number, to: number): Change {
  const old = from & V1_STATE_MASK;
  const steps = (before: number, path: readonly number[]) => stepsOf(before, path, driverActions);
  const stop = yield* advance(old, steps(old, clearThenSet(old, to)));
  if (stop.worked || stop.lost) return outcome(stop);
  return yield* unwind(stop.state, steps(stop.state, clearThenSet(stop.state, old)));
}

/**
 * A change by the state machine of January 2022, along the shortest path, with the unwinding that was proposed with it:
 * back to the old state, unless the data session of that has been closed on the way, which makes it ERROR. (v2 as it
 * was merged does not unwind: the device stays where it is.) A refused change yields nothing and does not work.
 */
export function* changeByArcs(from: number, to: number, { p2p }: { readonly p2p: boolean }): Change {
  const path = fsmPath(from, to, { p2p });
  if (path === null) return { state: from, worked: false };
  const steps = (before: number, way: readonly number[]) => stepsOf(before, way, arcActions);
  const stop = yield* advance(from, steps(from, path));
  if (stop.worked || stop.lost) return outcome(stop);
  const back = isSessionClosed(from, stop.state) ? null : fsmPath(stop.state, from, { p2p });
  if (back === null) return { state: V1State.ERROR, worked: false };
  return yield* unwind(stop.state, steps(stop.state, back));
}

/** Where the way forward ended; `lost`: in a deserialization that failed. */
interface Stop extends ChangeOutcome {
  readonly lost: boolean;
}

function* advance(
  from: number,
  steps: readonly Omit<ChangeStep, 'unwinding'>[],
): Generator<ChangeStep, Stop, boolean> {
  let state = from;
  for (const step of steps) {
    const worked = yield { ...step, unwinding: false };
    if (!worked) return { state, worked: false, lost: step.actions.includes('deserialize') };
    state = step.to;
  }
  return { state, worked: true, lost: false };
}

/** A session that was left is not taken up again: going back to SAVING or RESUMING begins a new one. */
function* unwind(from: number, steps: readonly Omit<ChangeStep, 'unwinding'>[]): Change {
  let state = from;
  for (const step of steps) {
    if (!(yield { ...step, unwinding: true })) return { state: V1State.ERROR, worked: false };
    state = step.to;
  }
  return { state, worked: false };
}

function outcome({ state, worked, lost }: Stop): ChangeOutcome {
  return { state: lost ? V1State.ERROR : state, worked };
}

function stepsOf(
  from: number,
  path: readonly number[],
  actionsOf: (from: number, to: number) => readonly DriverAction[],
): readonly Omit<ChangeStep, 'unwinding'>[] {
  return path.map((to, index) => {
    const before = path[index - 1] ?? from;
    return { from: before, to, actions: actionsOf(before, to) };
  });
}

function arcActions(from: number, to: number): readonly DriverAction[] {
  return driverActions(fsmBits(from), fsmBits(to), { ndma: true });
}

function isSessionClosed(old: number, now: number): boolean {
  const saves = (state: number): boolean =>
    state === FsmState.STOP_COPY || state === FsmState.PRE_COPY || state === FsmState.PRE_COPY_P2P;
  return (saves(old) && !saves(now)) || (old === FsmState.RESUMING && now !== FsmState.RESUMING);
}
