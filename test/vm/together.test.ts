import { describe, expect, it } from 'vitest';
import { carryOut, conductVm, qmp, type VmReply, type VmSequence, type VmStep } from '../../src/vm/step.ts';
import { all, both } from '../../src/vm/together.ts';
import { FakeVm } from './fake-vm.ts';

describe('sequences side by side', () => {
  it('take their steps at once, each its own', async () => {
    const rounds: number[] = [];
    const run = async (step: VmStep): Promise<VmReply> => {
      if (step.do !== 'together') throw new Error(step.do);
      rounds.push(step.steps.length);
      return { kind: 'outcomes', outcomes: step.steps.map(() => ({ is: 'reply', reply: { kind: 'done' } })) };
    };
    const steps = function* (count: number): VmSequence<number> {
      for (let i = 0; i < count; i += 1) yield* carryOut({ do: 'detach' });
      return count;
    };
    expect(await conductVm(all([steps(2), steps(0), steps(3)]), run)).toEqual([2, 0, 3]);
    expect(rounds).toEqual([2, 2, 1]);
  });

  it('are all carried out before the failure of one is thrown', () => {
    const vm = new FakeVm({ bad: new Error('no'), good: 1 });
    const twice = function* (): VmSequence<unknown> {
      yield* qmp('good');
      return yield* qmp('good');
    };
    expect(() => vm.run(both(qmp('bad'), twice()))).toThrow('no');
    expect(vm.commands).toEqual(['bad', 'good', 'good']);
  });

  it('can go on after a failure of their own', () => {
    const vm = new FakeVm({ bad: new Error('no') });
    const forgiving = function* (): VmSequence<string> {
      try {
        yield* qmp('bad');
      } catch {
        yield* qmp('other');
      }
      return 'done';
    };
    expect(vm.run(both(forgiving(), qmp('else')))).toEqual(['done', {}]);
  });
});
