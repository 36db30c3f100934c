import { describe, expect, it } from 'vitest';
import type { JournalRole } from '../../../src/journal/index.ts';
import { BLOWS, type Blow, DECISIVE } from './blows.ts';
import { type Moment, Stage, type StageOptions } from './stage.ts';
import { complaints, errorsOf, lastWord, recoverAll, saysLost, whereabouts } from './verdict.ts';

const LONG_MS = 600_000;

/** How many steps each side takes when nothing happens. */
async function lengths(options: StageOptions): Promise<Readonly<Record<JournalRole, number>>> {
  const stage = new Stage(options);
  await stage.play();
  expect(whereabouts(stage)).toBe('destination');
  return { sender: stage.processes.sender.steps, receiver: stage.processes.receiver.steps };
}

/** Every moment at which something may happen. */
async function moments(options: StageOptions): Promise<Moment[]> {
  const counts = await lengths(options);
  return (['sender', 'receiver'] as const).flatMap((role) =>
    Array.from({ length: counts[role] }, (_, index) =>
      (['before', 'after'] as const).map((when): Moment => ({ role, index, when })),
    ).flat(),
  );
}

/** One migration to which `blow` happens at `at`, and its recovery. */
async function strike(options: StageOptions, at: Moment, blow: Blow) {
  let what = '';
  const stage = new Stage({
    ...options,
    onStep: (self, moment, step) => {
      if (moment.role !== at.role || moment.index !== at.index || moment.when !== at.when) return;
      what = `${at.when} ${at.role} step ${at.index} (${JSON.stringify(step, plain)})`;
      blow.strike(self);
    },
  });
  await stage.play();
  const errors = errorsOf(stage);
  const recoveries = await recoverAll(stage);
  return { stage, errors, recoveries, what };
}

/** A reset between the last look at a device and the request to run it can't be seen by any controller. */
function hasOwner(stage: Stage): boolean {
  const unseen = stage.worlds.some(({ destination }) => destination.discarded && destination.isRunning);
  return unseen || ['source', 'destination'].includes(whereabouts(stage));
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

/** Two devices differ from one in what happens between them: one moment of each step shows that. */
const settings: (StageOptions & { readonly name: string; readonly whens: readonly Moment['when'][] })[] = [
  { name: 'one device', devices: 1, whens: ['before', 'after'] },
  {
    name: 'two devices',
    devices: 2,
    whens: process.env['FERRY_CHAOS'] === 'long' ? ['before', 'after'] : ['after'],
  },
];

describe.each(settings)('at every step, $name', (options) => {
  it.each(BLOWS)('$name: one owner, at every instant and afterwards', { timeout: LONG_MS }, async (blow) => {
    for (const at of await moments(options)) {
      if (!options.whens.includes(at.when)) continue;
      const { stage, errors, recoveries, what } = await strike(options, at, blow);
      const said = [...errors, ...recoveries];
      const where = `${blow.name} ${what}: ${said.map(({ by, owner, outcome }) => `${by}: ${owner}, ${outcome}`).join(' | ')}`;
      expect(complaints(stage, errors, recoveries), where).toEqual([]);
      if (blow.harmless) {
        expect(['source', 'destination'], where).toContain(whereabouts(stage));
        expect([whereabouts(stage), null], where).toContain(lastWord(recoveries));
      } else if (!hasOwner(stage)) {
        expect(saysLost(said) || said.some(({ owner }) => owner === 'in doubt'), where).toBe(true);
      }
    }
  });
});

describe('a message that decides', () => {
  const cases = DECISIVE.flatMap(([role, kind]) => [
    { role, kind, fate: 'lost' as const },
    { role, kind, fate: 'doubled' as const },
  ]);
  it.each(cases)('$kind of the $role, $fate', { timeout: LONG_MS }, async ({ role, kind, fate }) => {
    const stage = new Stage();
    const channel = stage.channel(role);
    if (fate === 'lost') channel.loses = kind;
    else channel.doubles = kind;
    await stage.play();
    const errors = errorsOf(stage);
    const recoveries = await recoverAll(stage);
    expect(complaints(stage, errors, recoveries)).toEqual([]);
    expect([whereabouts(stage), null]).toContain(lastWord(recoveries));
    expect(['source', 'destination']).toContain(whereabouts(stage));
  });
});
