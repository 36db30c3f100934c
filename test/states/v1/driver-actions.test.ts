import { describe, expect, it } from 'vitest';
import { DRIVER_ACTIONS, driverActions, V1Bit, V1State } from '../../../src/states/index.ts';
import { bits, pairs, published, WORKING } from './tables.ts';

const { RUNNING, STOP, STOP_COPY, PRE_COPY } = V1State;
const { NDMA } = V1Bit;

it.each(pairs(WORKING).filter(([from, to]) => from !== to))(
  '%i to %i does what was published',
  (from, to) => {
    expect(driverActions(from, to)).toEqual(published.driverActions.changes[`${bits(from)}-${bits(to)}`]);
  },
);

it('knows all 20 changes between the five states', () => {
  expect(Object.keys(published.driverActions.changes)).toHaveLength(20);
});

it.each(WORKING)('does nothing where nothing changes (%i)', (state) => {
  expect(driverActions(state, state)).toEqual([]);
});

it.each(pairs([0, 1, 2, 3, 4, 5, 6, 7]).filter((pair) => pair.some((state) => state > 4)))(
  'has no task to or from an error or an invalid state (%i to %i)',
  (from, to) => {
    expect(driverActions(from, to)).toEqual([]);
  },
);

it('serializes on the main path, on which SAVING does not toggle', () => {
  expect(driverActions(PRE_COPY, STOP_COPY)).toContain('serialize');
});

it('looks at no reserved bit', () => {
  for (const [from, to] of pairs(WORKING)) {
    expect(driverActions(from | 0xf000, to | 0x8)).toEqual(driverActions(from, to));
  }
});

it('explains each action', () => {
  for (const text of Object.values(DRIVER_ACTIONS)) expect(text).toMatch(/^[a-z]/);
});

describe('NDMA, which became the P2P states', () => {
  const ndma = (from: number, to: number) => driverActions(from, to, { ndma: true });

  it('takes over the outer half of stopping and of running', () => {
    expect(ndma(RUNNING, RUNNING | NDMA)).toEqual(['quiesce']);
    expect(ndma(RUNNING | NDMA, STOP)).toEqual(['freeze']);
    expect(ndma(STOP, RUNNING | NDMA)).toEqual(['unfreeze']);
    expect(ndma(RUNNING | NDMA, RUNNING)).toEqual(['unquiesce']);
    expect(ndma(PRE_COPY | NDMA, STOP_COPY)).toEqual(['freeze', 'serialize']);
  });

  it('in two steps does what one does without it', () => {
    for (const [running, stopped] of [
      [RUNNING, STOP],
      [RUNNING, STOP_COPY],
      [PRE_COPY, STOP_COPY],
    ] as const) {
      const twoSteps = [...ndma(running, running | NDMA), ...ndma(running | NDMA, stopped)];
      expect(twoSteps).toEqual(driverActions(running, stopped));
    }
  });

  it('lets DMA begin only after tracking does', () => {
    expect(ndma(RUNNING | NDMA, PRE_COPY)).toEqual(['track', 'unquiesce']);
  });

  it('is superfluous in a stopped device', () => {
    expect(ndma(STOP, STOP | NDMA)).toEqual([]);
    expect(ndma(STOP | NDMA, RUNNING)).toEqual(['unfreeze', 'unquiesce']);
  });
});
