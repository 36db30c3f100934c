import { describe, expect, it } from 'vitest';
import { isRunning, MigrationState, parseState } from '../../../src/states/index.ts';
import { BLOWS } from './blows.ts';
import { type Moment, Stage } from './stage.ts';
import { complaints, errorsOf, lastWord, recoverAll } from './verdict.ts';

const LONG_MS = 600_000;
const { STOP, STOP_COPY } = MigrationState;
const names = ['death of the sender', 'death of the receiver', 'death of both engines', 'a cut channel'];
const blows = BLOWS.filter(({ name }) => names.includes(name));

async function steps(): Promise<Moment[]> {
  const stage = new Stage({ paused: true });
  await stage.play();
  return (['sender', 'receiver'] as const).flatMap((role) =>
    Array.from(
      { length: stage.processes[role].steps },
      (_, index): Moment => ({ role, index, when: 'after' }),
    ),
  );
}

/** A state in which a device runs, whatever is in it. */
function runs(state: number): boolean {
  const known = parseState(state);
  return known !== null && isRunning(known);
}

describe('a guest that is paused, at every step', () => {
  it.each(blows)('$name: it stays so, with whom it belongs to', { timeout: LONG_MS }, async (blow) => {
    for (const at of await steps()) {
      const stage = new Stage({
        paused: true,
        onStep: (self, moment) => {
          if (moment.role === at.role && moment.index === at.index && moment.when === at.when)
            blow.strike(self);
        },
      });
      await stage.play();
      const errors = errorsOf(stage);
      const recoveries = await recoverAll(stage);
      const told = [...errors, ...recoveries].map(({ by, owner, outcome }) => `${by}: ${owner}, ${outcome}`);
      const where = `${blow.name} after step ${at.index} of the ${at.role}: ${told.join(' | ')}`;
      expect(complaints(stage, errors, recoveries), where).toEqual([]);
      const [source, destination] = [stage.device('sender'), stage.device('receiver')];
      expect(
        [source, destination].map((device) => device.content === 'the guest' && runs(device.deviceState)),
        where,
      ).toEqual([false, false]);
      const owner =
        lastWord(recoveries) === 'destination' || stage.processes.receiver.ending?.is === 'done'
          ? destination
          : source;
      expect(owner.content, where).toBe('the guest');
      expect([STOP, STOP_COPY], where).toContain(owner.deviceState);
    }
  });
});
