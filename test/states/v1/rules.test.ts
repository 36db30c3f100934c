import { describe, expect, it } from 'vitest';
import {
  clearThenSet,
  FsmState,
  fsmPath,
  fsmStateName,
  RULE_SETS,
  type RuleSet,
  ruleSet,
  V1_RULES,
  V1State,
  type Verdict,
} from '../../../src/states/index.ts';
import { bits, fromBits, pairs, published, WORKING } from './tables.ts';

const ALL = [0, 1, 2, 3, 4, 5, 6, 7];
const LETTER: Readonly<Record<Verdict, string>> = { allowed: 'Y', refused: '.', unlisted: '?' };

function rules(id: string): RuleSet {
  const found = ruleSet(id);
  if (found === null) throw new Error(`no rules ${id}`);
  return found;
}

it('knows seven rule sets of v1 and four of v2, each by its name', () => {
  expect(V1_RULES.map(({ id }) => id)).toEqual([
    'v1-2019',
    'v1-uapi',
    'v1-2021-09',
    'v1-2021-12',
    'v1-2022-01',
    'v1-2022-01-no-p2p',
    'v1-libvfio-user',
  ]);
  expect(RULE_SETS.slice(7).map(({ id }) => id)).toEqual(['v2-1', 'v2-3', 'v2-5', 'v2-7']);
  for (const each of RULE_SETS) expect(ruleSet(each.id)).toBe(each);
  expect(ruleSet('v3')).toBeNull();
});

describe.each(published.tables)('$id', ({ id, rows }) => {
  it('says of each of the 64 changes what was published', () => {
    const said = ALL.map((from) => ALL.map((to) => LETTER[rules(id).judge(from, to).verdict]).join(''));
    expect(said).toEqual(rows);
  });

  it('gives a reason where it does not allow, and none where it does', () => {
    for (const [from, to] of pairs(ALL)) {
      const { verdict, reason, path, steps } = rules(id).judge(from, to);
      expect(reason === null).toBe(verdict === 'allowed');
      expect(steps).toHaveLength(path.length);
      if (verdict === 'refused') expect(path).toEqual([]);
      else expect(path.at(-1) ?? from).toBe(to);
    }
  });

  it('chains its steps from the first state to the last', () => {
    for (const [from, to] of pairs(ALL)) {
      let at = from;
      for (const step of rules(id).judge(from, to).steps) {
        expect(step.from).toBe(at);
        at = step.to;
      }
    }
  });
});

describe.each(RULE_SETS.map(({ id }) => id))('a way of several steps of %s', (id) => {
  it('is made of steps that are allowed by themselves, and goes on as it would from there', () => {
    const { states, judge } = rules(id);
    for (const [from, to] of pairs(states.map(({ code }) => code))) {
      const { verdict, path, steps } = judge(from, to);
      const [first] = path;
      if (verdict !== 'allowed' || first === undefined) continue;
      expect(judge(from, first)).toMatchObject({ verdict: 'allowed', path: [first], steps: [steps[0]] });
      expect(judge(first, to).path, `${from} to ${to}`).toEqual(path.slice(1));
    }
  });
});

describe('reserved bits', () => {
  it.each([
    ['v1-2019', 'allowed'],
    ['v1-uapi', 'allowed'],
    ['v1-2021-09', 'refused'],
    ['v1-2021-12', 'allowed'],
    ['v1-2022-01', 'refused'],
    ['v1-2022-01-no-p2p', 'refused'],
    ['v1-libvfio-user', 'unlisted'],
  ])('are to %s %s', (id, verdict) => {
    expect(rules(id).judge(V1State.RUNNING, V1State.PRE_COPY | 0xf000).verdict).toBe(verdict);
  });

  it('do not show in the states on the way', () => {
    expect(rules('v1-2021-12').judge(0xf001, 0xf004).path).toEqual([0, 4]);
    expect(rules('v1-uapi').judge(0xf001, 0xf004).path).toEqual([4]);
  });
});

describe('clear-then-set', () => {
  it('takes the published changes of several bits on the way that its order gives', () => {
    for (const [from, to] of pairs(WORKING)) {
      const listed = published.clearThenSet.multiBit[bits(from)]?.includes(bits(to)) === true;
      expect(clearThenSet(from, to).length > 1, `${from} to ${to}`).toBe(listed);
    }
    for (const path of published.clearThenSet.paths) {
      const [first = '', ...rest] = path;
      expect(clearThenSet(fromBits(first), fromBits(rest.at(-1) ?? '')).map(bits)).toEqual(rest);
    }
  });

  it('has RESUMING on together with no other bit', () => {
    for (const [from, to] of pairs(WORKING)) {
      for (const state of clearThenSet(from, to)) expect(WORKING).toContain(state);
    }
  });
});

describe('the state machine of January 2022', () => {
  const { arcs, combinations, blocked, numbers, arcsWithoutP2p } = published.machine2022;
  const names = Object.keys(numbers);
  const code = (name: string) => numbers[name] ?? Number.NaN;
  const lines = [...arcs, ...combinations].map((line) => line.split(' -> '));

  it('has v1’s numbers, and the P2P states in the invalid ones', () => {
    expect(FsmState).toEqual(numbers);
  });

  it('goes the ways that were listed, and no others', () => {
    for (const [from, to] of pairs(names)) {
      const listed = lines.find((line) => line[0] === from && line.at(-1) === to);
      const way = fsmPath(code(from), code(to), { p2p: true })?.map(fsmStateName) ?? null;
      if (from === to && from !== 'ERROR') expect(way).toEqual([]);
      else expect(way, `${from} to ${to}`).toEqual(listed?.slice(1) ?? null);
    }
    expect(lines).toHaveLength(40);
  });

  it('blocks the two ways back into pre-copy', () => {
    for (const line of blocked) {
      const [from = '', to = ''] = line.split(' -> ');
      expect(rules('v1-2022-01').judge(code(from), code(to)).verdict).toBe('refused');
    }
  });

  it('has 9 arcs without P2P', () => {
    const found = pairs(WORKING)
      .filter(([from, to]) => fsmPath(from, to, { p2p: false })?.length === 1)
      .map(([from, to]) => `${fsmStateName(from)} -> ${fsmStateName(to)}`);
    expect(found.sort()).toEqual([...arcsWithoutP2p].sort());
  });

  it('refuses what is no state, and P2P states to who lacks them', () => {
    expect(rules('v1-2022-01').judge(1, 8).reason).toBe('8 is no state');
    expect(rules('v1-2022-01').judge(-1, 1).verdict).toBe('refused');
    expect(rules('v1-2022-01-no-p2p').judge(1, 7).reason).toBe('the device has no state RUNNING_P2P');
  });
});

describe('remarks', () => {
  it('say where the published algorithms differ', () => {
    const differing = pairs(WORKING)
      .map(([from, to]) => ({
        change: `${bits(from)}-${bits(to)}`,
        told: rules('v1-uapi')
          .judge(from, to)
          .remarks.filter((remark) => remark.startsWith('The published algorithms differ')),
      }))
      .filter(({ told }) => told.length > 0);
    expect(differing.map(({ change }) => change)).toEqual([
      '000-011',
      '010-011',
      '011-000',
      '011-100',
      '100-011',
    ]);
    for (const change of ['000-011', '100-011', '011-000', '011-100']) {
      expect(differing.find((each) => each.change === change)?.told[0]).toContain('serializes on the way');
    }
  });

  it.each([
    ['v1-2021-09', '001', '100', /^Missing: /],
    ['v1-2021-09', '010', '011', /why not back to pre-copy/],
    ['v1-2021-09', '011', '000', /always be allowed to stop/],
    ['v1-2021-09', '100', '011', /for tracing/],
    ['v1-2021-09', '100', '010', /validate what was restored/],
    ['v1-libvfio-user', '011', '001', /^Not meant: /],
    ['v1-libvfio-user', '000', '010', /issue #853/],
    ['v1-2021-12', '000', '011', /prefers that logging begins before/],
    ['v1-2021-12', '010', '011', /^Answered: it is of no use/],
    ['v1-2019', '000', '100', /^Transition 7/],
    ['v1-uapi', '100', '010', /^A case of its own: /],
    ['v1-uapi', '100', '011', /^A case of its own: /],
  ])('%s has one on %s to %s', (id, from, to, pattern) => {
    const { remarks } = rules(id).judge(fromBits(from), fromBits(to));
    expect(remarks.some((remark) => pattern.test(remark))).toBe(true);
  });
});
