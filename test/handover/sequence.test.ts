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
  'ready',
  'taken',
  'no',
  'eof',
  'timeout',
  'stop',
  'again',
  'failed',
];
const TAKER_EVENTS: readonly TakerEvent[] = [
  'hello',
  'again',
  'complete',
  'go',
  'no',
  'eof',
  'timeout',
  'failed',
];

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
  it('gives it only to one that is ready', () => {
    for (const state of ['asked', 'copying', 'stopped', 'kept', 'gone'] satisfies GiverState[]) {
      for (const event of GIVER_EVENTS) {
        if (giverStep(state, event)?.[1] === 'give') expect([state, event]).toEqual(['stopped', 'ready']);
      }
    }
  });

  it('keeps it whatever fails before', () => {
    for (const state of ['asked', 'copying', 'stopped'] satisfies GiverState[]) {
      for (const event of ['no', 'eof', 'timeout', 'failed'] satisfies GiverEvent[]) {
        expect(giverStep(state, event), `${state}, ${event}`).toEqual(['kept', 'keep']);
      }
    }
  });

  it('waits without a limit once it has given it', () => {
    expect(GIVER_EVENTS.filter((event) => giverStep('given', event) !== null)).toEqual(['taken', 'eof']);
  });

  it('reaches every state', () => {
    expect([...reach('asked', GIVER_EVENTS, giverStep).keys()].sort()).toEqual(
      ['asked', 'copying', 'given', 'gone', 'kept', 'stopped'].sort(),
    );
  });
});

describe('the process that is to have the device', () => {
  it('takes it when told to, or when the other has died and everything is here', () => {
    const states: readonly TakerState[] = ['asking', 'loading', 'loaded', 'running', 'refused'];
    const taking = states.flatMap((state) =>
      TAKER_EVENTS.filter((event) => takerStep(state, event)?.[0] === 'running' && state !== 'running').map(
        (event) => [state, event],
      ),
    );
    expect(taking).toEqual([
      ['loaded', 'go'],
      ['loaded', 'eof'],
    ]);
  });

  it('waits without a limit when it is ready', () => {
    expect(takerStep('loaded', 'timeout')).toBeNull();
  });

  it('reaches every state', () => {
    expect([...reach('asking', TAKER_EVENTS, takerStep).keys()].sort()).toEqual(
      ['asking', 'loaded', 'loading', 'refused', 'running'].sort(),
    );
  });
});
