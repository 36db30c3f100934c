import { describe, expect, it } from 'vitest';
import { type Moment, Stage } from './stage.ts';
import { complaints, errorsOf, recoverAll, saysLost, whereabouts } from './verdict.ts';

/** Kills the destination's device when `decision` has been made durable. */
async function killedAfter(decision: 'READY' | 'COMMIT' | 'RUN', keeps: boolean): Promise<Stage> {
  const stage = new Stage({
    keeps,
    onStep: (self, { when }: Moment, step) => {
      if (when === 'after' && step.do === 'journal' && step.decision === decision)
        self.killDevice('receiver');
    },
  });
  await stage.play();
  return stage;
}

describe('a destination device that dies before it has run', () => {
  it.each(['READY', 'COMMIT'] as const)(
    'after %s: what was kept is loaded into the next one, and nothing is lost',
    async (decision) => {
      const stage = await killedAfter(decision, true);
      const recoveries = await recoverAll(stage);
      expect(complaints(stage, errorsOf(stage), recoveries)).toEqual([]);
      expect(whereabouts(stage)).toBe('destination');
      expect(recoveries.at(-1)).toMatchObject({ owner: 'destination', nextSteps: [] });
    },
  );

  it('without anything kept: the loss is said, and that the source still has it', async () => {
    const stage = await killedAfter('COMMIT', false);
    const recoveries = await recoverAll(stage);
    expect(whereabouts(stage)).toBe('nowhere');
    expect(saysLost(recoveries)).toBe(true);
    expect(recoveries.some(({ outcome }) => outcome.includes('the stopped source still has it'))).toBe(true);
  });

  it('after RUN: it may have run, so what was kept is of no use, and the loss is said', async () => {
    const stage = await killedAfter('RUN', true);
    const recoveries = await recoverAll(stage);
    expect(whereabouts(stage)).toBe('nowhere');
    expect(saysLost(recoveries)).toBe(true);
  });
});

describe('what is kept', () => {
  it('that can not be made to last keeps the receiver from saying READY: the source runs on', async () => {
    const stage = new Stage({
      keeps: true,
      onStep: (self, { role, when }, step) => {
        if (role === 'receiver' && when === 'before' && step.do === 'totals')
          self.keep?.abort('the disk is full');
      },
    });
    await stage.play();
    expect(whereabouts(stage)).toBe('source');
    expect(errorsOf(stage).map(({ outcome }) => outcome)).toContainEqual(
      expect.stringContaining("what was received can't be kept"),
    );
  });
});
