import { expect, it } from 'vitest';
import { areasOf, select, UnknownRuleError } from '../../src/check/index.ts';
import { facts } from './support.ts';

const rules = [
  facts('framing.split-header'),
  facts('framing.split-body', { severity: 'should' }),
  facts('states.initial', { severity: 'hardening' }),
];
const ids = (selection: Parameters<typeof select>[1]): string[] =>
  select(rules, selection).map(({ id }) => id);

it.each([
  ['everything', {}, ['framing.split-header', 'framing.split-body', 'states.initial']],
  ['an id', { only: ['states.initial'] }, ['states.initial']],
  ['an area', { only: ['framing'] }, ['framing.split-header', 'framing.split-body']],
  ['a glob', { only: ['*.split-*'] }, ['framing.split-header', 'framing.split-body']],
  ['all but an id', { skip: ['framing.split-body'] }, ['framing.split-header', 'states.initial']],
  ['an area without a glob', { only: ['framing'], skip: ['*header'] }, ['framing.split-body']],
  ['a severity', { severities: ['must', 'hardening'] }, ['framing.split-header', 'states.initial']],
] as const)('selects %s', (_, selection, expected) => {
  expect(ids(selection)).toEqual(expected);
});

it.each(['framing.split', 'fram', 'split-*', 'framing?'])('refuses %s, which names no rule', (pattern) => {
  expect(() => select(rules, { only: [pattern] })).toThrow(UnknownRuleError);
  expect(() => select(rules, { skip: [pattern] })).toThrow('the areas are framing, states');
});

it('knows the areas in their order', () => {
  expect(areasOf(rules)).toEqual(['framing', 'states']);
});
