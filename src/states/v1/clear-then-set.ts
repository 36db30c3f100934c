import { V1_STATE_MASK, V1Bit, V1State } from './device-state.ts';
import { type DriverAction, driverActions } from './driver-actions.ts';

/**
 * The states that a change passes through when its bits are flipped one at a time: first those that go off (RUNNING,
 * SAVING, RESUMING), then those that come on (RESUMING, SAVING, RUNNING). The last one is `to`; empty when nothing
 * changes. RESUMING is thereby never on together with another bit (kvm list, 13 December 2021).
 */
export function clearThenSet(from: number, to: number): readonly number[] {
  const path: number[] = [];
  let state = from & V1_STATE_MASK;
  const target = to & V1_STATE_MASK;
  for (const bit of [V1Bit.RUNNING, V1Bit.SAVING, V1Bit.RESUMING]) {
    if ((state & bit) === 0 || (target & bit) !== 0) continue;
    state &= ~bit;
    path.push(state);
  }
  for (const bit of [V1Bit.RESUMING, V1Bit.SAVING, V1Bit.RUNNING]) {
    if ((state & bit) !== 0 || (target & bit) === 0) continue;
    state |= bit;
    path.push(state);
  }
  return path;
}

/** One flip of a bit, which the driver carries out as a whole or not at all. */
export interface FlipStep {
  readonly from: number;
  readonly to: number;
  readonly actions: readonly DriverAction[];
  /** Whether this goes back after a failure. */
  readonly unwinding: boolean;
}

/** How a change ended: in the new state, back in the old one, or in ERROR. */
export interface FlipOutcome {
  readonly state: number;
  readonly worked: boolean;
}

/**
 * A whole change by clear-then-set, with its unwinding: yields one step at a time and is told whether that worked. After
 * a failure it goes back to the old state by the same rule; should that fail as well, or should a deserialization
 * fail, the state is ERROR and what was still to be done is left. It neither waits nor throws, so that drivers of any
 * kind can use it.
 */
export function* changeByFlips(from: number, to: number): Generator<FlipStep, FlipOutcome, boolean> {
  const old = from & V1_STATE_MASK;
  let state = old;
  for (const next of clearThenSet(old, to)) {
    const actions = driverActions(state, next);
    const worked = yield { from: state, to: next, actions, unwinding: false };
    if (worked) {
      state = next;
      continue;
    }
    if (actions.includes('deserialize')) return { state: V1State.ERROR, worked: false };
    return yield* unwind(state, old);
  }
  return { state, worked: true };
}

function* unwind(from: number, old: number): Generator<FlipStep, FlipOutcome, boolean> {
  // A session that was left is not taken up again: going back to SAVING or RESUMING begins a new one.
  let state = from;
  for (const next of clearThenSet(from, old)) {
    const actions = driverActions(state, next);
    const worked = yield { from: state, to: next, actions, unwinding: true };
    if (!worked) return { state: V1State.ERROR, worked: false };
    state = next;
  }
  return { state, worked: false };
}
