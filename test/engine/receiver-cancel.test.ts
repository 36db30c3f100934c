import { describe, expect, it } from 'vitest';
import { MigrationError } from '../../src/engine/index.ts';
import type { Step } from '../../src/engine/step.ts';
import { Stage } from './chaos/stage.ts';
import { whereabouts } from './chaos/verdict.ts';

/** Cancels the receiver when it comes to a step, and plays to the end. */
async function cancelledAt(is: (step: Step) => boolean): Promise<Stage> {
  const stage = new Stage({
    onStep: (self, { role, when }, step) => {
      if (role === 'receiver' && when === 'before' && is(step)) self.cancelling.receiver.abort();
    },
  });
  await stage.play();
  return stage;
}

function codesOf({ processes }: Stage): readonly (string | null)[] {
  return [processes.sender, processes.receiver].map(({ ending }) =>
    ending?.is === 'failed' && ending.error instanceof MigrationError ? ending.error.code : null,
  );
}

describe('a receiver that is cancelled', () => {
  it.each(['OPEN', 'COMPLETE'] as const)('before %s tells the source, which runs on', async (kind) => {
    const stage = await cancelledAt((step) => step.do === 'expect' && step.kinds.includes(kind));
    expect(whereabouts(stage)).toBe('source');
    expect(codesOf(stage)).toEqual(['ERR_MIGRATION_CANCELLED', 'ERR_MIGRATION_CANCELLED']);
  });

  it('after READY goes on: only the source knows the outcome', async () => {
    const stage = await cancelledAt((step) => step.do === 'expect' && step.kinds.includes('COMMIT'));
    expect(whereabouts(stage)).toBe('destination');
    expect(codesOf(stage)).toEqual([null, null]);
  });
});
