import { describe, expect, it } from 'vitest';
import { compareRules, type RuleSet, ruleSet, type Verdict } from '../../../src/states/index.ts';
import { bits, pairs, published, WORKING } from '../v1/tables.ts';

const NAMES = ['STOP', 'RUNNING', 'STOP_COPY', 'PRE_COPY', 'RESUMING'];

const rules = (...ids: readonly string[]): RuleSet[] =>
  ids.map((id) => {
    const found = ruleSet(id);
    if (found === null) throw new Error(`no rules ${id}`);
    return found;
  });

const FIVE = ['v1-uapi', 'v1-2021-09', 'v1-2021-12', 'v1-2022-01', 'v1-libvfio-user'];

describe('the five published tables', () => {
  const changes = compareRules(rules(...FIVE));
  const change = (from: string, to: string) => {
    const found = changes.find((each) => each.from === from && each.to === to);
    if (found === undefined) throw new Error(`no ${from} to ${to}`);
    return found;
  };

  it('are compared on every pair of the states that any of them has', () => {
    expect(changes).toHaveLength(64);
  });

  it('differ where the published rows do', () => {
    const letters: Readonly<Record<Verdict | 'absent', string>> = {
      allowed: 'Y',
      refused: '.',
      unlisted: '?',
      absent: '-',
    };
    for (const [from, to] of pairs(WORKING)) {
      const found = change(NAMES[from] ?? '', NAMES[to] ?? '');
      const expected = FIVE.map(
        (id) => published.tables.find((table) => table.id === id)?.rows[from]?.[to] ?? machine2022(from, to),
      );
      expect(found.answers.map(({ verdict }) => letters[verdict])).toEqual(expected);
      if (new Set(expected).size > 1) expect(found.differsIn).toBe('verdict');
      else expect(found.differsIn, `${bits(from)} to ${bits(to)}`).not.toBe('verdict');
    }
  });

  it('agree on the main path of saving, stop-and-copy included', () => {
    for (const [from, to] of [
      ['RUNNING', 'PRE_COPY'],
      ['PRE_COPY', 'STOP_COPY'],
      ['STOP_COPY', 'STOP'],
      ['RUNNING', 'STOP'],
      ['RUNNING', 'STOP_COPY'],
      ['RESUMING', 'RUNNING'],
    ] as const) {
      expect(change(from, to).differsIn).toBeNull();
    }
  });

  it('differ in the remarks that were made on them', () => {
    const refusing = (from: string, to: string) =>
      change(from, to)
        .answers.filter(({ verdict }) => verdict === 'refused')
        .map((answer) => answer.rules);
    expect(refusing('RUNNING', 'RESUMING')).toEqual(['v1-2021-09']);
    expect(refusing('STOP_COPY', 'PRE_COPY')).toEqual(['v1-2021-09', 'v1-2022-01', 'v1-libvfio-user']);
    expect(refusing('PRE_COPY', 'STOP')).toEqual(['v1-2021-09']);
    expect(refusing('STOP', 'RESUMING')).toEqual(['v1-libvfio-user']);
    expect(refusing('STOP', 'STOP_COPY')).toEqual(['v1-2021-09', 'v1-libvfio-user']);
    expect(refusing('PRE_COPY', 'PRE_COPY')).toEqual(['v1-2021-09', 'v1-libvfio-user']);
    expect(refusing('PRE_COPY', 'RUNNING')).toEqual([]);
  });

  it('have P2P states in the machine only', () => {
    const { answers, differsIn } = change('RUNNING', 'RUNNING_P2P');
    expect(answers.map(({ verdict }) => verdict)).toEqual([
      'absent',
      'absent',
      'absent',
      'allowed',
      'absent',
    ]);
    expect(differsIn).toBeNull();
  });
});

/** The machine without its P2P states: any to any but STOP_COPY to PRE_COPY (kvm list, 14 January 2022). */
function machine2022(from: number, to: number): string {
  return from === 0b010 && to === 0b011 ? '.' : 'Y';
}

it('tells algorithms apart that allow the same and do not do the same', () => {
  const changes = compareRules(rules('v1-2021-12', 'v1-2022-01-no-p2p'));
  const differing = changes.filter(({ differsIn }) => differsIn !== null);
  expect(differing.map(({ from, to, differsIn }) => `${from}-${to}: ${differsIn}`)).toEqual([
    'STOP-PRE_COPY: actions',
    'STOP_COPY-PRE_COPY: verdict',
    'PRE_COPY-STOP: actions',
    'PRE_COPY-RESUMING: actions',
    'RESUMING-PRE_COPY: actions',
  ]);
});

it('finds no difference between v2 and the machine that it came from', () => {
  for (const pair of [
    ['v2-7', 'v1-2022-01'],
    ['v2-5', 'v1-2022-01-no-p2p'],
  ] as const) {
    expect(compareRules(rules(...pair)).filter(({ differsIn }) => differsIn !== null)).toEqual([]);
  }
});
