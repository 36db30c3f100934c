import { expect, it } from 'vitest';
import { FULL_ARCS, migrationMachine, stateName } from '../../src/states/index.ts';

it('declares 15 different arcs, each with its duty', () => {
  expect(FULL_ARCS).toHaveLength(15);
  expect(new Set(FULL_ARCS.map(([from, to]) => `${from}-${to}`)).size).toBe(15);
  for (const [from, to, duty] of FULL_ARCS) {
    expect(duty, `${stateName(from)} to ${stateName(to)}`).toMatch(/^[A-Z].*\.$/);
  }
});

it('derives 15, 9, 8 and 6 arcs for flags 7, 5, 3 and 1, none of them a loop', () => {
  const machines = [7, 5, 3, 1].map((flags) => migrationMachine(flags));
  expect(machines.map((machine) => machine.arcs.length)).toEqual([15, 9, 8, 6]);
  for (const { arcs } of machines) expect(arcs.filter((arc) => arc.from === arc.to)).toEqual([]);
});
