import { describe, expect, it } from 'vitest';
import { type AccessSituation, type AccessVerdict, accessVerdict } from '../../src/server/access-rules.ts';
import { MigrationState, stateName } from '../../src/states/index.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;

interface Rule {
  readonly configRead: AccessVerdict;
  readonly configWrite: AccessVerdict;
  readonly bar: AccessVerdict;
}

const served: Rule = { configRead: 'serve', configWrite: 'serve', bar: 'serve' };

/** A client that drives the migration of its own device: nothing is held. */
const unheld = new Map<MigrationState, Rule>([
  [RUNNING, served],
  [RUNNING_P2P, served],
  [PRE_COPY, served],
  [PRE_COPY_P2P, served],
  [STOP, served],
  [STOP_COPY, { configRead: 'serve', configWrite: 'refuse', bar: 'refuse' }],
  [RESUMING, { configRead: 'serve', configWrite: 'serve', bar: 'refuse' }],
  [ERROR, { configRead: 'serve', configWrite: 'serve', bar: 'refuse' }],
]);

const booleans = [false, true];

function everySituation(): AccessSituation[] {
  const situations: AccessSituation[] = [];
  for (const state of Object.values(MigrationState))
    for (const held of booleans)
      for (const expired of booleans)
        for (const stateElsewhere of booleans)
          for (const config of booleans)
            for (const write of booleans)
              situations.push({ state, held, expired, stateElsewhere, config, write });
  return situations;
}

function expected({ state, held, expired, stateElsewhere, config, write }: AccessSituation): AccessVerdict {
  if (!held) {
    const rule = unheld.get(state);
    if (rule === undefined) throw new Error(`no rule for ${stateName(state)}`);
    if (!config) return rule.bar;
    return write ? rule.configWrite : rule.configRead;
  }
  // A write to the configuration space in STOP travels with the state, unless that has gone or is still to come.
  if (config && state === STOP && !stateElsewhere) return 'serve';
  return expired ? 'busy' : 'park';
}

describe('an access', () => {
  it('meets one verdict in each of the 256 situations', () => {
    const situations = everySituation();
    expect(situations).toHaveLength(256);
    for (const situation of situations) {
      const name = JSON.stringify({ ...situation, state: stateName(situation.state) });
      expect(accessVerdict(situation), name).toBe(expected(situation));
    }
  });

  it('under a hold is never refused for the state: it waits, or is told that nobody waits that long', () => {
    const verdicts = everySituation()
      .filter(({ held }) => held)
      .map(accessVerdict);
    expect(new Set(verdicts)).toEqual(new Set(['serve', 'park', 'busy']));
  });
});
