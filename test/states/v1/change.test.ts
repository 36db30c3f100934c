import { describe, expect, it } from 'vitest';
import {
  type Change,
  type ChangeOutcome,
  type ChangeStep,
  changeByArcs,
  changeByFlips,
  FsmState,
  V1State,
} from '../../../src/states/index.ts';
import { bits, pairs, published, WORKING } from './tables.ts';

const { ERROR, RESUMING, STOP, PRE_COPY, RUNNING, STOP_COPY } = V1State;

/** Runs a change in which the steps of these numbers fail. */
function run(change: Change, ...failing: readonly number[]): { outcome: ChangeOutcome; steps: ChangeStep[] } {
  const steps: ChangeStep[] = [];
  let next = change.next(true);
  while (next.done !== true) {
    steps.push(next.value);
    next = change.next(!failing.includes(steps.length - 1));
  }
  return { outcome: next.value, steps };
}

const ways = (steps: readonly ChangeStep[]) => steps.map(({ from, to }) => `${bits(from)}-${bits(to)}`);

describe('a change by clear-then-set', () => {
  it.each(pairs(WORKING))('arrives when every step works (%i to %i)', (from, to) => {
    const { outcome, steps } = run(changeByFlips(from, to));
    expect(outcome).toEqual({ state: to, worked: true });
    for (const { actions, from: before, to: after } of steps) {
      expect(actions).toEqual(published.driverActions.changes[`${bits(before)}-${bits(after)}`]);
    }
  });

  it.each(pairs(WORKING))('ends in the old state or in ERROR when a step fails (%i to %i)', (from, to) => {
    const { length } = run(changeByFlips(from, to)).steps;
    for (let failing = 0; failing < length; failing++) {
      const { outcome, steps } = run(changeByFlips(from, to), failing);
      const lost = steps[failing]?.actions.includes('deserialize') === true;
      expect(outcome).toEqual({ state: lost ? ERROR : from, worked: false });
      expect(steps.slice(failing + 1).every(({ unwinding }) => unwinding)).toBe(true);
    }
  });

  it('goes back by the same rule', () => {
    const { steps } = run(changeByFlips(PRE_COPY, RESUMING), 2);
    expect(ways(steps)).toEqual(['011-010', '010-000', '000-100', '000-010', '010-011']);
  });

  it('is in ERROR when the way back fails as well', () => {
    const { outcome, steps } = run(changeByFlips(RUNNING, STOP_COPY), 1, 2);
    expect(ways(steps)).toEqual(['001-000', '000-010', '000-001']);
    expect(outcome).toEqual({ state: ERROR, worked: false });
  });

  it('leaves the saving part when a deserialization fails', () => {
    const { outcome, steps } = run(changeByFlips(RESUMING, STOP_COPY), 0);
    expect(ways(steps)).toEqual(['100-000']);
    expect(outcome).toEqual({ state: ERROR, worked: false });
  });
});

describe('a change by the state machine', () => {
  const states = Object.values(FsmState).filter((state) => state !== FsmState.ERROR);

  it.each(pairs(states))('arrives, or is refused at once (%i to %i)', (from, to) => {
    const { outcome, steps } = run(changeByArcs(from, to, { p2p: true }));
    const isBlocked =
      from === FsmState.STOP_COPY && (to === FsmState.PRE_COPY || to === FsmState.PRE_COPY_P2P);
    expect(outcome).toEqual({ state: isBlocked ? from : to, worked: !isBlocked });
    if (isBlocked) expect(steps).toEqual([]);
  });

  it('goes back while the session that was open is', () => {
    const { outcome, steps } = run(changeByArcs(RUNNING, STOP_COPY, { p2p: true }), 2);
    expect(steps.map(({ to }) => to)).toEqual([7, 0, 2, 7, 1]);
    expect(outcome).toEqual({ state: RUNNING, worked: false });
  });

  it('is in ERROR when it can not go back to the session that it has closed', () => {
    expect(run(changeByArcs(PRE_COPY, STOP, { p2p: true }), 1).outcome).toEqual({
      state: ERROR,
      worked: false,
    });
    expect(run(changeByArcs(RESUMING, RUNNING, { p2p: true }), 1).outcome.state).toBe(ERROR);
  });

  it('is in ERROR when the way back fails, and when a deserialization does', () => {
    expect(run(changeByArcs(RUNNING, STOP_COPY, { p2p: true }), 2, 3).outcome.state).toBe(ERROR);
    expect(run(changeByArcs(RESUMING, RUNNING, { p2p: true }), 0).outcome.state).toBe(ERROR);
  });

  it('stays where it is when the first step fails', () => {
    expect(run(changeByArcs(PRE_COPY, STOP, { p2p: true }), 0).outcome.state).toBe(PRE_COPY);
  });

  it('splits quiesce and freeze where there is P2P, and does not where there is none', () => {
    const actions = (p2p: boolean) =>
      run(changeByArcs(RUNNING, STOP, { p2p })).steps.map((step) => step.actions);
    expect(actions(true)).toEqual([['quiesce'], ['freeze']]);
    expect(actions(false)).toEqual([['quiesce', 'freeze']]);
  });
});
