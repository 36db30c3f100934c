import { describe, expect, it } from 'vitest';
import {
  fsmStateName,
  MigrationState,
  migrationMachine,
  type RuleSet,
  renumberToV2,
  ruleSet,
  ruleStateName,
} from '../../../src/states/index.ts';
import { tables } from '../tables.ts';
import { pairs } from '../v1/tables.ts';

function rules(id: string): RuleSet {
  const found = ruleSet(id);
  if (found === null) throw new Error(`no rules ${id}`);
  return found;
}

const validCodes = (of: RuleSet) => of.states.filter(({ valid }) => valid).map(({ code }) => code);
const isPreCopy = (code: number) => fsmStateName(code)?.startsWith('PRE_COPY') === true;
const v2 = (code: number) => renumberToV2(code) ?? Number.NaN;

describe.each(tables)('v2 with flags $flags', ({ flags, states, changes }) => {
  const machine = rules(`v2-${flags}`);

  it('allows the kernel’s changes by the kernel’s ways, and refuses all others', () => {
    for (const [from, to] of pairs(states)) {
      const change = changes.find((each) => each.from === from && each.to === to);
      const { verdict, path } = machine.judge(MigrationState[from], MigrationState[to]);
      const isAllowed = from === to ? from !== 'ERROR' : change?.path !== undefined;
      expect(verdict, `${from} to ${to}`).toBe(isAllowed ? 'allowed' : 'refused');
      expect(path.map((code) => ruleStateName(machine, code))).toEqual(change?.path ?? []);
    }
  });

  it('tells of each step what the device must do, and of sessions what the arcs do', () => {
    for (const { from, to, opensSession, endsSession } of migrationMachine(flags).arcs) {
      const [step, ...more] = machine.judge(from, to).steps;
      expect(more).toEqual([]);
      expect(step).toMatchObject({ from, to, opensSession, endsSession });
      expect(step?.duties.length).toBeGreaterThan(0);
      for (const duty of step?.duties ?? []) expect(duty).toMatch(/^[A-Z].*\.$/);
    }
  });
});

it('says why: an unknown state, one that the device lacks, a way that is blocked', () => {
  expect(rules('v2-7').judge(2, 9).reason).toBe('9 is no migration state');
  expect(rules('v2-1').judge(2, MigrationState.PRE_COPY).reason).toBe('the device has no state PRE_COPY');
  expect(rules('v2-7').judge(0, 2).reason).toBe('only a reset leaves ERROR');
  expect(rules('v2-7').judge(3, 6).reason).toBe('a new saving session begins in a running state or in STOP');
});

it('merges what missing P2P states do into the arcs that pass them by', () => {
  const { RUNNING, STOP, PRE_COPY, STOP_COPY } = MigrationState;
  const duties = (id: string, from: number, to: number) =>
    rules(id)
      .judge(from, to)
      .steps.flatMap((step) => step.duties);
  const actions = (id: string, from: number, to: number) =>
    rules(id)
      .judge(from, to)
      .steps.flatMap((step) => step.actions);
  for (const [from, to] of [
    [RUNNING, STOP],
    [STOP, RUNNING],
    [PRE_COPY, STOP_COPY],
  ] as const) {
    expect(duties('v2-5', from, to)).toEqual(duties('v2-7', from, to));
    expect(duties('v2-5', from, to)).toHaveLength(2);
    expect(actions('v2-5', from, to)).toEqual(actions('v2-7', from, to));
  }
});

describe.each([
  { v1: 'v1-2022-01', with: 'v2-7', without: 'v2-3' },
  { v1: 'v1-2022-01-no-p2p', with: 'v2-5', without: 'v2-1' },
])('$v1, renumbered', ({ v1, with: full, without: reduced }) => {
  const machine = rules(v1);
  const codes = validCodes(machine);

  it(`has the states of ${full}`, () => {
    expect(codes.map(v2).sort()).toEqual(validCodes(rules(full)).sort());
  });

  it(`is ${full}: the same verdict, way, actions, duties and sessions for every pair`, () => {
    for (const [from, to] of pairs(codes)) {
      const old = machine.judge(from, to);
      const now = rules(full).judge(v2(from), v2(to));
      expect(now.verdict, `${from} to ${to}`).toBe(old.verdict);
      expect(now.path).toEqual(old.path.map(v2));
      expect(now.steps).toEqual(old.steps.map((step) => ({ ...step, from: v2(step.from), to: v2(step.to) })));
    }
  });

  it(`without its PRE_COPY states is ${reduced}: no way between the others leads through them`, () => {
    const others = codes.filter((code) => !isPreCopy(code));
    expect(others.map(v2).sort()).toEqual(validCodes(rules(reduced)).sort());
    for (const [from, to] of pairs(others)) {
      const old = machine.judge(from, to);
      expect(old.path.some(isPreCopy)).toBe(false);
      expect(rules(reduced).judge(v2(from), v2(to)).verdict).toBe(old.verdict);
      expect(rules(reduced).judge(v2(from), v2(to)).path).toEqual(old.path.map(v2));
    }
  });
});
