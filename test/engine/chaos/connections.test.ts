import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { JournalRole } from '../../../src/journal/index.ts';
import { type Moment, Stage } from './stage.ts';
import { complaints, errorsOf, lastWord, recoverAll, whereabouts } from './verdict.ts';

const LONG_MS = 600_000;
const LONG = process.env['FERRY_CHAOS'] === 'long';
const CONNECTIONS = LONG ? 3 : 2;
/** Before a step is after the one before it, but for what the other side does meanwhile. */
const WHENS: readonly Moment['when'][] = LONG ? ['before', 'after'] : ['after'];
const ROLES: readonly JournalRole[] = ['sender', 'receiver'];

// The channel's own signs of life, which time only when a stage lets time pass.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const BLOWS: readonly { readonly name: string; readonly strike: (stage: Stage, index: number) => void }[] = [
  { name: 'one of several connections is cut', strike: (stage, index) => stage.cutOne(index) },
  { name: 'one of several connections is stalled', strike: (stage, index) => stage.stallOne(index) },
  {
    name: 'a byte towards the destination is changed',
    strike: (stage, index) => stage.corruptOne(index, 'receiver'),
  },
  {
    name: 'a byte towards the source is changed',
    strike: (stage, index) => stage.corruptOne(index, 'sender'),
  },
  { name: 'all connections are cut', strike: (stage) => stage.cut() },
];

async function moments(): Promise<Moment[]> {
  const stage = new Stage({ connections: CONNECTIONS });
  await stage.play();
  expect([whereabouts(stage), errorsOf(stage)]).toEqual(['destination', []]);
  return ROLES.flatMap((role) =>
    Array.from({ length: stage.processes[role].steps }, (_, index) =>
      WHENS.map((when): Moment => ({ role, index, when })),
    ).flat(),
  );
}

describe('over several connections, at every step', () => {
  it.each(BLOWS)('$name: one owner, at every instant and afterwards', { timeout: LONG_MS }, async (blow) => {
    let failed = 0;
    for (const [number, at] of (await moments()).entries()) {
      const stage = new Stage({
        connections: CONNECTIONS,
        onStep: (self, { role, index, when }) => {
          if (role === at.role && index === at.index && when === at.when) blow.strike(self, number);
        },
      });
      await stage.play();
      const errors = errorsOf(stage);
      const recoveries = await recoverAll(stage);
      const told = [...errors, ...recoveries].map(({ by, owner, outcome }) => `${by}: ${owner}, ${outcome}`);
      const where = `${blow.name} ${at.when} step ${at.index} of the ${at.role}: ${told.join(' | ')}`;
      expect(complaints(stage, errors, recoveries), where).toEqual([]);
      expect(['source', 'destination'], where).toContain(whereabouts(stage));
      expect([whereabouts(stage), null], where).toContain(lastWord(recoveries));
      failed += errors.length;
    }
    expect(failed, 'most of these end the migration').toBeGreaterThan(20);
  });
});
