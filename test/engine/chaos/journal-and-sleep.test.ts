import { describe, expect, it } from 'vitest';
import { MigrationError } from '../../../src/engine/index.ts';
import { Errno } from '../../../src/errors/index.ts';
import type { FaultPlan, JournalRole } from '../../../src/journal/index.ts';
import { type Moment, Stage } from './stage.ts';
import { complaints, errorsOf, lastWord, recoverAll, whereabouts } from './verdict.ts';

const LONG_MS = 600_000;
const ROLES = ['sender', 'receiver'] as const;

/** The so-many-th record can't be written: a part of it is, and is cut off again. */
const full =
  (record: number): FaultPlan =>
  (operation, count) =>
    operation === 'write' && count === record ? { errno: Errno.ENOSPC, written: 7 } : null;

/** The so-many-th record can neither be made durable nor taken back. */
const broken =
  (record: number): FaultPlan =>
  (operation, count) => {
    if (operation === 'sync') return count === record ? { errno: Errno.EIO } : null;
    return operation === 'truncate' && count === 0 ? { errno: Errno.EIO } : null;
  };

/** The so-many-th record is half written, and can't be taken back. */
const torn =
  (record: number): FaultPlan =>
  (operation, count) => {
    if (operation === 'write') return count === record ? { errno: Errno.EIO, written: 9 } : null;
    return operation === 'truncate' && count === 0 ? { errno: Errno.EIO } : null;
  };

const PLANS = [
  { name: 'full', plan: full },
  { name: 'broken', plan: broken },
  { name: 'torn', plan: torn },
] as const;

describe.each(ROLES)('the journal of the %s', (role) => {
  const cases = PLANS.flatMap(({ name, plan }) => [0, 1, 2, 3].map((record) => ({ name, plan, record })));
  it.each(cases)(
    '$name at record $record: one owner, and nobody runs on a guess',
    async ({ plan, record }) => {
      const stage = new Stage({ faults: { [role]: plan(record) } });
      await stage.play();
      const errors = errorsOf(stage);
      const at = whereabouts(stage);
      const recoveries = await recoverAll(stage);
      expect(complaints(stage, errors, recoveries)).toEqual([]);
      expect(['source', 'destination']).toContain(whereabouts(stage));
      expect([whereabouts(stage), null]).toContain(lastWord(recoveries));
      if (at !== 'nowhere') expect(whereabouts(stage), 'who ran goes on running').toBe(at);
    },
  );

  it('in which COMMIT is uncertain lets neither side run', async () => {
    if (role === 'receiver') return;
    const stage = new Stage({ faults: { sender: broken(1) } });
    await stage.play();
    expect(whereabouts(stage)).toBe('nowhere');
    const { ending } = stage.processes.sender;
    const error = ending?.is === 'failed' ? ending.error : null;
    expect(error).toBeInstanceOf(MigrationError);
    expect(error).toMatchObject({ owner: 'in doubt', nextSteps: ['ferry recover'] });
    expect(String(error)).toContain('neither side runs until it can be read');
  });
});

/** How many steps each side takes when nothing happens. */
async function lengths(): Promise<Readonly<Record<JournalRole, number>>> {
  const stage = new Stage();
  await stage.play();
  return { sender: stage.processes.sender.steps, receiver: stage.processes.receiver.steps };
}

describe('an engine that is stopped (SIGSTOP) at any step, and wakes after the others went on', () => {
  it.each(ROLES)('%s', { timeout: LONG_MS }, async (role) => {
    const other = role === 'sender' ? 'receiver' : 'sender';
    const count = (await lengths())[role];
    for (let index = 0; index < count; index += 1) {
      for (const when of ['before', 'after'] as const) {
        const stage = await sleeper({ role, index, when });
        // The other side is recovered while this one sleeps; its own journal is locked as long as it lives.
        await stage.recover(other).catch(() => null);
        stage.processes[role].wake();
        await stage.finish();
        const errors = errorsOf(stage);
        const recoveries = await recoverAll(stage);
        const where = `${when} step ${index} of the ${role}: ${JSON.stringify([...errors, ...recoveries])}`;
        expect(complaints(stage, errors, recoveries), where).toEqual([]);
        expect(['source', 'destination'], where).toContain(whereabouts(stage));
        expect([whereabouts(stage), null], where).toContain(lastWord(recoveries));
      }
    }
  });

  it('finds a source that an operator has taken over meanwhile, and never commits', {
    timeout: LONG_MS,
  }, async () => {
    const count = (await lengths()).sender;
    for (let index = 0; index < count; index += 1) {
      const stage = await sleeper({ role: 'sender', index, when: 'before' });
      const taken = await stage.takeSourceBack();
      stage.processes.sender.wake();
      await stage.finish();
      // Once the claim is retired, the sleeper may have been about to write COMMIT: taking over by force is then on
      // whoever forces it, so the stage refuses as a server does without force.
      if (taken) expect(whereabouts(stage), `before step ${index}`).toBe('source');
      expect(stage.violation).toBeNull();
    }
  });
});

/** Plays until the side that is put to sleep is all that is left. */
async function sleeper(at: Moment): Promise<Stage> {
  const stage = new Stage({
    onStep: (self, moment) => {
      if (moment.role !== at.role || moment.index !== at.index || moment.when !== at.when) return;
      if (self.hasSlept) return;
      self.hasSlept = true;
      self.processes[at.role].sleep();
      self.stall('sender', 'receiver');
    },
  });
  await stage.play();
  return stage;
}

describe('two recoveries', () => {
  it('one after another do nothing more, and say the same', async () => {
    const stage = new Stage({
      onStep: (self, { role, when }, step) => {
        if (role === 'sender' && when === 'after' && step.do === 'journal' && step.decision === 'COMMIT')
          self.kill('sender');
      },
    });
    await stage.play();
    const first = await recoverAll(stage);
    const second = await recoverAll(stage);
    expect(new Set([...first, ...second].slice(1).map(({ owner }) => owner))).toEqual(
      new Set(['destination']),
    );
    expect(whereabouts(stage)).toBe('destination');
    expect(stage.violation).toBeNull();
  });

  it('at the same time: the second finds the journal in use', async () => {
    const stage = new Stage({
      onStep: (self, { role, when }, step) => {
        if (role === 'sender' && when === 'before' && step.do === 'copy') self.kill('sender');
      },
    });
    await stage.play();
    const both = await Promise.allSettled([stage.recover('sender'), stage.recover('sender')]);
    const [won, lost] = both;
    expect(won).toMatchObject({ status: 'fulfilled', value: { owner: 'source' } });
    expect(lost).toMatchObject({ status: 'rejected', reason: { code: 'ERR_JOURNAL_BUSY' } });
    expect(whereabouts(stage)).toBe('source');
  });
});

describe('a doubt', () => {
  it('is said as long as only the destination can be read, and ended by force or by the journal of the source', async () => {
    const doubtful = async (): Promise<Stage> => {
      const stage = new Stage({
        onStep: (self, { role, when }, step) => {
          if (role === 'sender' && when === 'after' && step.do === 'expect' && step.kinds.includes('READY')) {
            self.kill('sender');
            self.kill('receiver');
          }
        },
      });
      await stage.play();
      return stage;
    };
    const forced = await doubtful();
    expect(await forced.recover('receiver', false)).toMatchObject({ owner: 'in doubt', acted: false });
    expect(await forced.recover('receiver', true)).toMatchObject({ owner: 'source', complete: true });
    expect(whereabouts(forced), 'kept until the source has written ABORT').toBe('nowhere');
    expect(await forced.recover('receiver', false, true)).toMatchObject({ owner: 'destination' });
    expect(whereabouts(forced)).toBe('destination');

    const read = await doubtful();
    expect(await read.recover('sender')).toMatchObject({ owner: 'source' });
    expect(await read.recover('receiver')).toMatchObject({ owner: 'source', complete: true });
    expect(whereabouts(read)).toBe('source');
  });
});
