import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MigrationSession } from '../../src/server/migration-session.ts';
import { ServerError } from '../../src/server/server-error.ts';
import { MigrationState, stateName } from '../../src/states/index.ts';
import { Model } from './migration-model.ts';
import { errnoOf, outcomeOf, Party } from './migration-parties.ts';
import { type ArcOutcome, ScriptedMigration } from './scripted-migration.ts';

const { ERROR, RUNNING } = MigrationState;

const one = new Uint8Array(1);
/** Lets every promise job run. */
function flush(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const PARTIES = 3;

type Op =
  | { readonly kind: 'set'; readonly party: number; readonly target: number; readonly outcomes: ArcOutcome[] }
  | { readonly kind: 'settle'; readonly outcome: 'ok' | 'fail' }
  | { readonly kind: 'reset'; readonly party: number; readonly polite: boolean }
  | { readonly kind: 'reset ends'; readonly outcome: 'ok' | 'fail' }
  | { readonly kind: 'read' | 'write' | 'info' | 'report' | 'leave'; readonly party: number }
  | { readonly kind: 'abandon' };

const party = fc.nat(PARTIES - 1);
const settled = fc.constantFrom('ok' as const, 'fail' as const);
const arcOutcome = fc.oneof(
  { weight: 5, arbitrary: fc.constant('ok' as const) },
  { weight: 2, arbitrary: fc.constant('wait' as const) },
  { weight: 1, arbitrary: fc.constant('fail' as const) },
);
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      party,
      target: fc.nat(8),
      outcomes: fc.array(arcOutcome, { maxLength: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('settle' as const), outcome: settled }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reset' as const), party, polite: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reset ends' as const), outcome: settled }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'read' as const,
        'write' as const,
        'info' as const,
        'report' as const,
        'leave' as const,
      ),
      party,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abandon' as const) }) },
);

describe('several parties, in any order', () => {
  /** Does the same to the session and to the model, and compares. */
  async function run(flags: number, ops: readonly Op[]): Promise<void> {
    const device = new ScriptedMigration(flags);
    const migration = new MigrationSession<Party>(device, { departs() {}, arc() {}, settled() {} });
    const model = new Model(flags);
    const parties = Array.from({ length: PARTIES }, (_, i) => new Party(`${i}`));
    const who = (index: number): Party => parties[index] ?? new Party('nobody');
    const endings: string[] = [];

    const set = (by: Party, target: number): string => {
      try {
        const pending = migration.set(target, by);
        if (pending === undefined) return 'ok';
        pending.then(
          () => endings.push('ok'),
          (error: unknown) => endings.push(errnoOf(error)),
        );
        return 'waits';
      } catch (error) {
        return errnoOf(error);
      }
    };

    /** What the session answered, and what it should have. */
    const step = (each: Op): readonly [unknown, unknown] => {
      switch (each.kind) {
        case 'set':
          device.outcomes = [...each.outcomes];
          return [set(who(each.party), each.target), model.set(each.party, each.target, each.outcomes)];
        case 'settle':
          // The arcs that follow take what their own transition was given.
          device.outcomes = [...(model.flights[0]?.outcomes ?? [])];
          return [device.settle(each.outcome), model.settle(each.outcome)];
        case 'reset': {
          const busy = model.owner !== null && model.owner !== each.party;
          const turn = each.polite ? outcomeOf(() => migration.requireMay('reset', who(each.party))) : 'ok';
          if (turn === 'ok') {
            migration.resetBegins(who(each.party));
            model.resetBegins(each.party);
          }
          return [turn, each.polite && busy ? 'EBUSY' : 'ok'];
        }
        case 'reset ends':
          if (!model.resetting) return [null, null];
          device.reset();
          if (each.outcome === 'ok') migration.wasReset();
          else migration.failed(new ServerError('ERR_WRONG_STATE', 'the device does not reset'));
          device.state = each.outcome === 'ok' ? RUNNING : ERROR;
          return [null, model.resetEnds(each.outcome) ?? null];
        case 'read':
          return [
            outcomeOf(() => migration.read(one, who(each.party))),
            model.transfer(each.party, 'saving'),
          ];
        case 'write':
          return [
            outcomeOf(() => migration.write(one, who(each.party))),
            model.transfer(each.party, 'resuming'),
          ];
        case 'info':
          return [
            outcomeOf(() => migration.precopyInfo(who(each.party))),
            model.transfer(each.party, 'saving', true),
          ];
        case 'report':
          return [migration.report(who(each.party)), model.report(each.party)];
        case 'leave':
          migration.leave(who(each.party));
          parties[each.party] = new Party(`${each.party}'`);
          return [null, model.leave(each.party) ?? null];
        case 'abandon':
          migration.abandon();
          model.abandoned = true;
          return [null, null];
      }
    };

    for (const each of ops) {
      const [is, should] = step(each);
      await flush();
      expect(is, JSON.stringify(each)).toEqual(should);
      expect(endings).toEqual(model.endings);
      expect(stateName(migration.state)).toBe(stateName(model.state));
      // The device and the server never disagree on where the device is, save while a reset is on its way.
      if (!model.resetting) expect(stateName(device.state)).toBe(stateName(migration.state));
      expect(migration.inTransition).toBe(model.flight !== null);
      expect(migration.owner).toBe(model.owner === null ? null : who(model.owner));
    }
  }

  it.each([1, 3, 5, 7])('agree with the model, with migration flags %i', async (flags) => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 1, maxLength: 30 }), (ops) => run(flags, ops)),
      { numRuns: 700 },
    );
  });
});
