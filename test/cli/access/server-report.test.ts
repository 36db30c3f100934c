import { describe, expect, it } from 'vitest';
import { describeServer } from '../../../src/cli/access/server-report.ts';

const idle = {
  active: false,
  lengthMs: 0,
  longestMs: 0,
  count: 0,
  expired: false,
  droppedWrites: 0,
  parkedCommands: 0,
};
const migration = { sessionOwner: null, inTransition: false, lastError: null };
const main = { connected: false, dmaMaps: 0, dmaLogging: false };

describe('what a server tells of itself', () => {
  it('is short while nothing happens', () => {
    expect(describeServer({ migration, main, hold: idle })).toEqual([
      'migration: driven by nobody',
      'main connection: none',
    ]);
  });

  it('names who is at work and what went wrong', () => {
    const busy = {
      sessionOwner: 'control',
      inTransition: true,
      lastError: { message: 'the state is incomplete' },
    };
    expect(
      describeServer({
        migration: busy,
        main: { connected: true, dmaMaps: 2, dmaLogging: true },
        hold: idle,
      }),
    ).toEqual([
      'migration: driven by a control connection, in transition; last error: the state is incomplete',
      'main connection: a VMM, 2 DMA maps, DMA is being logged',
    ]);
  });

  it('shows a hold, its length, and what it has cost', () => {
    const hold = {
      ...idle,
      active: true,
      lengthMs: 4200,
      parkedCommands: 3,
      expired: true,
      droppedWrites: 2,
    };
    expect(describeServer({ migration, main, hold }).slice(2)).toEqual([
      'hold: for 4.20 s, 3 commands parked; it has expired: accesses get EBUSY',
      'posted writes dropped by holds that expired: 2',
    ]);
    const past = { ...idle, count: 2, lengthMs: 10, longestMs: 30 };
    expect(describeServer({ migration, main, hold: past }).slice(2)).toEqual([
      'hold: none now; 2 so far, the last 10.0 ms, the longest 30.0 ms',
    ]);
  });

  it('says to which migration the device belongs', () => {
    const claim = { id: '00000000000000ab', epoch: '3', retired: false, sinceMs: 0, attended: true };
    const line = (changes: object) =>
      describeServer({ migration, main, hold: idle, claim: { ...claim, ...changes } })[2];
    expect(line({})).toBe(
      'claim: belongs to migration 00000000000000ab since 1970-01-01T00:00:00.000Z, epoch 3',
    );
    expect(line({ attended: false, retired: true })).toMatch(
      /epoch 3, nobody acts for it now; retired: the state has been handed over$/,
    );
    const hostile = line({ sinceMs: 1e300, id: 'a\u001b[31m' });
    expect(hostile).toContain('since an unknown time');
    expect(hostile).not.toContain('\u001b');
  });

  it('is nothing for a server that is not Ferry', () => {
    expect(describeServer(null)).toEqual([]);
  });
});
