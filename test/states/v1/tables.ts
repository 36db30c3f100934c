import { readText } from '../tables.ts';

interface Fixture {
  readonly tables: readonly { readonly id: string; readonly rows: readonly string[] }[];
  readonly clearThenSet: {
    readonly multiBit: Readonly<Record<string, readonly string[]>>;
    readonly paths: readonly (readonly string[])[];
  };
  readonly machine2022: {
    readonly numbers: Readonly<Record<string, number>>;
    readonly arcs: readonly string[];
    readonly combinations: readonly string[];
    readonly blocked: readonly string[];
    readonly arcsWithoutP2p: readonly string[];
  };
  readonly driverActions: { readonly changes: Readonly<Record<string, readonly string[]>> };
}

/** What was published of v1, written down from the mails, the header and the compiled table. */
export const published: Fixture = JSON.parse(readText('v1-transition-tables.json'));

/** The five states in which a device of v1 works. */
export const WORKING = [0b000, 0b001, 0b010, 0b011, 0b100];

/** Three bits as they are written. */
export const bits = (state: number): string => state.toString(2).padStart(3, '0');

/** What is written as three bits. */
export const fromBits = (text: string): number => Number.parseInt(text, 2);

/** Every pair of these. */
export function pairs<T>(of: readonly T[]): [T, T][] {
  return of.flatMap((from) => of.map((to): [T, T] => [from, to]));
}
