import { readFileSync } from 'node:fs';
import { MigrationState } from '../../src/states/index.ts';

export type StateName = keyof typeof MigrationState;

/** One cell of a transition table: the whole path, or a refusal. */
export interface Change {
  readonly from: StateName;
  readonly to: StateName;
  readonly path?: readonly StateName[];
  readonly refused?: 'EINVAL';
}

export interface TransitionTable {
  readonly flags: number;
  readonly states: readonly StateName[];
  readonly arcs: readonly (readonly [StateName, StateName])[];
  readonly changes: readonly Change[];
}

function readJson<T>(name: string): T {
  return JSON.parse(readText(name));
}

export function readText(name: string): string {
  return readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8');
}

/** The kernel's complete tables for the flags 1, 3, 5 and 7. */
export const tables = readJson<{ tables: readonly TransitionTable[] }>('v2-transition-tables.json').tables;

/** The kernel function of 2022, as data. */
export const nextState2022 = readJson<{
  states: readonly StateName[];
  next: Readonly<Record<string, readonly StateName[]>>;
}>('v2-next-state-2022.json');

export const numberOf = (name: StateName): MigrationState => MigrationState[name];
