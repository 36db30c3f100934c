import { describe, expect, it } from 'vitest';
import { Journals, MemoryJournalFiles } from '../../../src/journal/index.ts';
import type { UpgradePlan } from '../../../src/vm/upgrade/plan.ts';
import {
  abort,
  beginUpgrade,
  begunUpgrade,
  commit,
  done,
  positionIn,
  unfinishedUpgrade,
} from '../../../src/vm/upgrade/upgrade-journal.ts';

const VM = 'qmp:/run/vm/old.qmp';
const PLAN: UpgradePlan = {
  channels: { main: '/main', cpr: '/cpr' },
  ...{ newMonitorPath: '/new.qmp', newGdbPath: '/new.gdb' },
  settings: { mode: 'normal', capabilities: [] },
  ...{ policies: [], ids: [], scratch: null },
};

/** Journals whose clock goes on by itself. */
function journals(): Journals {
  let now = 1_700_000_000_000;
  return new Journals(new MemoryJournalFiles(), () => (now += 1));
}

describe('the journal of an upgrade', () => {
  it('is found by its VM as long as it has not ended, the last one first', async () => {
    const all = journals();
    const first = await beginUpgrade(all, VM, [], PLAN);
    await first.journal.close();
    const second = await beginUpgrade(all, VM, [], { ...PLAN, newMonitorPath: '/other.qmp' });
    await second.journal.close();
    const found = await unfinishedUpgrade(all, VM);
    expect(found?.journal.group).toBe(second.journal.group);
    expect(found).toMatchObject({ vm: VM, devices: [], plan: { newMonitorPath: '/other.qmp' } });
    if (found !== null) await abort(found, 'x'.repeat(5000));
    await found?.journal.close();
    const left = await unfinishedUpgrade(all, VM);
    expect(left?.journal.group).toBe(first.journal.group);
    expect(await unfinishedUpgrade(all, 'qmp:/run/vm/another.qmp')).toBe(null);
  });

  it('is unfinished after COMMIT, and over after DONE', async () => {
    const all = journals();
    const begun = await beginUpgrade(all, VM, [], PLAN);
    await commit(begun);
    await begun.journal.close();
    const found = await unfinishedUpgrade(all, VM);
    expect(found === null ? null : positionIn(found)).toBe('COMMIT');
    if (found !== null) await done(found);
    await found?.journal.close();
    expect(await unfinishedUpgrade(all, VM)).toBe(null);
  });

  it('is not that of a migration', async () => {
    const all = journals();
    const devices = [{ path: VM, instance: 0n }];
    const common = { group: 'a'.repeat(32), epoch: 1n, token: '0'.repeat(32), peer: '' };
    const journal = await all.begin({ kind: 'BEGIN', role: 'sender', ...common, devices });
    expect(begunUpgrade(journal)).toBe(null);
    await journal.close();
    expect(await unfinishedUpgrade(all, VM)).toBe(null);
  });

  it('is refused when it names other devices than its plan', async () => {
    const all = journals();
    const begun = await beginUpgrade(all, VM, [], { ...PLAN, policies: ['keep'], ids: ['disk'] });
    expect(() => begunUpgrade(begun.journal)).toThrow(/does not name/);
    await begun.journal.close();
  });
});
