import { describe, expect, it } from 'vitest';
import { conductVm, type VmReply, type VmSequence, type VmStep } from '../../src/vm/step.ts';
import { until, untilMigration } from '../../src/vm/waiting.ts';

/** A clock that each pause moves on by so many milliseconds. */
function pausing(ms: number) {
  const pauses: VmStep[] = [];
  const run = async (step: VmStep): Promise<VmReply> => {
    pauses.push(step);
    return { kind: 'paused', ms };
  };
  return { pauses, run };
}

/** Succeeds at the time after so many in vain. */
function inVain(count: number) {
  let looks = 0;
  // biome-ignore lint/correctness/useYield: it has nothing to ask
  return function* (): VmSequence<string | null> {
    looks += 1;
    return looks > count ? 'found' : null;
  };
}

describe('what is waited for', () => {
  it('is looked at again after a pause', async () => {
    const { pauses, run } = pausing(2);
    expect(await conductVm(until(100, inVain(2)), run)).toBe('found');
    expect(pauses).toEqual(Array(2).fill({ do: 'pause', ms: 2, event: null }));
  });

  it('is looked at when an event tells of it', async () => {
    const { pauses, run } = pausing(1);
    expect(await conductVm(untilMigration(100, inVain(1)), run)).toBe('found');
    expect(pauses).toEqual([{ do: 'pause', ms: 50, event: 'MIGRATION' }]);
  });

  it('is given up when it has taken too long, however short the pauses were', async () => {
    const { pauses, run } = pausing(30);
    expect(await conductVm(untilMigration(100, inVain(1000)), run)).toBeNull();
    expect(pauses).toHaveLength(4);
  });
});
