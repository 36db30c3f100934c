import { describe, expect, it } from 'vitest';
import {
  broken,
  demand,
  given,
  inconclusive,
  notApplicable,
  type Rule,
  rule,
  runRules,
  type Stage,
  specification,
} from '../../src/check/index.ts';

const shown = [{ kind: 'sent', channel: 'main', text: 'VERSION', hex: '00', bytes: 1 }] as const;

/** Counts what is begun and ended. */
function stage(more: Partial<Stage<string>> = {}): Stage<string> & { ended: string[] } {
  const ended: string[] = [];
  return {
    ended,
    begin: ({ id }) => ({
      world: 'world',
      exchange: () => shown,
      log: () => 'what the server said',
      end: ({ outcome }) => void ended.push(`${id} ${outcome}`),
    }),
    ...more,
  };
}

function trying(check: Rule<string>['check'], id = 'area.name'): Rule<string> {
  return rule({ id, clause: specification('x'), severity: 'must', title: 't', why: 'w', check });
}

const cases: readonly (readonly [string, Rule<string>['check'], object])[] = [
  ['returns: passed', () => {}, { outcome: 'passed', reason: null, finding: null }],
  [
    'finds something: broken, with the exchange and what the server said',
    () => broken('it did that', 'this'),
    {
      outcome: 'broken',
      finding: { what: 'it did that', expected: 'this', exchange: shown, log: 'what the server said' },
    },
  ],
  ['demands in vain: broken', async () => demand(false, 'a', 'b'), { outcome: 'broken' }],
  ['does not apply', () => notApplicable('none'), { outcome: 'not applicable', reason: 'none' }],
  ['can not tell', () => inconclusive('who knows'), { outcome: 'inconclusive', reason: 'who knows' }],
  [
    'builds on something that does not work: inconclusive, for that is for another rule to say',
    () => given('VERSION', () => broken('no reply', 'one')),
    { outcome: 'inconclusive', reason: 'VERSION did not work: no reply' },
  ],
  [
    'has a mistake: inconclusive, never broken',
    () => {
      throw new TypeError('x is not a function');
    },
    { outcome: 'inconclusive', reason: 'the suite itself failed: x is not a function', finding: null },
  ],
  [
    'never ends: inconclusive',
    () => new Promise(() => {}),
    { outcome: 'inconclusive', reason: 'it took longer than 20 ms' },
  ],
];

describe('a rule that', () => {
  it.each(cases)('%s', async (_, check, expected) => {
    const where = stage();
    const [result] = await runRules({ rules: [trying(check)], stage: where, limitMs: 20 });
    expect(result).toMatchObject(expected);
    expect(where.ended).toEqual([`area.name ${result?.outcome}`]);
    expect(result?.rule.area).toBe('area');
  });

  it('can not be begun is what the stage says', async () => {
    const where = stage({ begin: () => notApplicable('there is no second instance') });
    const [result] = await runRules({ rules: [trying(() => {})], stage: where, limitMs: 20 });
    expect(result).toMatchObject({ outcome: 'not applicable', reason: 'there is no second instance' });
  });

  it('passed but could not be cleared away is inconclusive', async () => {
    const where = stage({
      begin: () => ({
        ...{ world: '', exchange: () => [], log: () => '' },
        end: () => inconclusive('the server is gone'),
      }),
    });
    const [result] = await runRules({ rules: [trying(() => {})], stage: where, limitMs: 20 });
    expect(result).toMatchObject({ outcome: 'inconclusive', reason: 'the server is gone' });
  });
});

it('tells each result at once, and stops when it is told to', async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const rules = ['a.one', 'a.two', 'a.three'].map((id) => trying(() => {}, id));
  const results = await runRules({
    ...{ rules, stage: stage(), limitMs: 20, signal: stop.signal },
    onResult: ({ rule: { id } }) => {
      seen.push(id);
      if (id === 'a.two') stop.abort();
    },
  });
  expect(seen).toEqual(['a.one', 'a.two']);
  expect(results).toHaveLength(2);
});
