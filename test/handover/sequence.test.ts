import { describe, expect, it } from 'vitest';
import {
  type GiverEvent,
  type GiverState,
  giverStep,
  type TakerEvent,
  type TakerState,
  takerStep,
} from '../../src/handover/sequence.ts';

const GIVER_EVENTS: readonly GiverEvent[] = [
  'ok',
  'taken',
  'no',
  'eof',
  'timeout',
  'stop',
  'again',
  'failed',
];
const TAKER_EVENTS: readonly TakerEvent[] = ['hello', 'again', 'complete', 'no', 'eof', 'timeout', 'failed'];
const FAILURES = ['no', 'eof', 'timeout', 'failed'] satisfies GiverEvent[];

/** All states that can be reached, each with the acts on the way to it. */
function reach<S extends string, E extends string, A extends string>(
  from: S,
  events: readonly E[],
  step: (state: S, event: E) => readonly [S, A] | null,
): Map<S, Set<A>> {
  const acts = new Map<S, Set<A>>([[from, new Set()]]);
  const queue: S[] = [from];
  for (let state = queue.shift(); state !== undefined; state = queue.shift()) {
    for (const event of events) {
      const next = step(state, event);
      if (next === null) continue;
      const known = acts.get(next[0]);
      if (known === undefined) queue.push(next[0]);
      acts.set(next[0], (known ?? new Set<A>()).add(next[1]));
    }
  }
  return acts;
}

describe('the process that has the device', () => {
  it('lets go of it only when the other says that it has taken it', () => {
    for (const state of ['asked', 'copying', 'stopped', 'kept', 'gone'] satisfies GiverState[]) {
      for (const event of GIVER_EVENTS) {
        if (giverStep(state, event)?.[1] === 'leave') expect([state, event]).toEqual(['stopped', 'taken']);
      }
    }
  });

  it('keeps it whatever fails before it was stopped', () => {
    for (const state of ['asked', 'copying'] satisfies GiverState[]) {
      for (const event of FAILURES) {
        expect(giverStep(state, event), `${state}, ${event}`).toEqual(['kept', 'keep']);
      }
    }
  });

  it('asks the word whatever fails when the other may have taken it', () => {
    for (const event of FAILURES) expect(giverStep('stopped', event), event).toEqual(['kept', 'reclaim']);
  });

  it('reaches every state', () => {
    expect([...reach('asked', GIVER_EVENTS, giverStep).keys()].sort()).toEqual(
      ['asked', 'copying', 'gone', 'kept', 'stopped'].sort(),
    );
  });
});

describe('the process that is to have the device', () => {
  it('takes it when everything is here, and then only', () => {
    const states: readonly TakerState[] = ['asking', 'loading', 'running', 'refused'];
    const taking = states.flatMap((state) =>
      TAKER_EVENTS.filter((event) => takerStep(state, event)?.[1] === 'take').map((event) => [state, event]),
    );
    expect(taking).toEqual([['loading', 'complete']]);
  });

  it('does not let go of what it has taken, whatever becomes of the other', () => {
    expect(takerStep('running', 'eof')).toEqual(['running', 'nothing']);
    expect(takerStep('running', 'failed')).toBeNull();
  });

  it('reaches every state', () => {
    expect([...reach('asking', TAKER_EVENTS, takerStep).keys()].sort()).toEqual(
      ['asking', 'loading', 'refused', 'running'].sort(),
    );
  });
});
