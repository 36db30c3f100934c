import { describe, expect, it } from 'vitest';
import {
  isRunning,
  isSaving,
  MigrationState,
  mayInitiateDma,
  parseState,
  sessionKind,
  stateName,
} from '../../src/states/index.ts';

const table = [
  { name: 'ERROR', number: 0, running: false, dma: false, session: null },
  { name: 'STOP', number: 1, running: false, dma: false, session: null },
  { name: 'RUNNING', number: 2, running: true, dma: true, session: null },
  { name: 'STOP_COPY', number: 3, running: false, dma: false, session: 'saving' },
  { name: 'RESUMING', number: 4, running: false, dma: false, session: 'resuming' },
  { name: 'RUNNING_P2P', number: 5, running: true, dma: false, session: null },
  { name: 'PRE_COPY', number: 6, running: true, dma: true, session: 'saving' },
  { name: 'PRE_COPY_P2P', number: 7, running: true, dma: false, session: 'saving' },
] as const;

it.each(table)('$name is $number', ({ name, number, running, dma, session }) => {
  const state = MigrationState[name];
  expect(state).toBe(number);
  expect(stateName(state)).toBe(name);
  expect(isRunning(state)).toBe(running);
  expect(mayInitiateDma(state)).toBe(dma);
  expect(sessionKind(state)).toBe(session);
  expect(isSaving(state)).toBe(session === 'saving');
  expect(parseState(number)).toBe(state);
});

it('has no other states', () => {
  expect(Object.keys(MigrationState)).toHaveLength(table.length);
});

describe('a state that this version does not know', () => {
  it.each([8, 9, 1000, 0xffff_ffff, -1, 1.5, Number.NaN])('%d has a name and is no known state', (value) => {
    expect(parseState(value)).toBeNull();
    expect(stateName(value)).toBe(`unknown state ${value}`);
  });
});
