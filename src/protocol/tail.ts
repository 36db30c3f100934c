import type { Cursor } from './cursor.ts';
import type { FieldPlace } from './layout.ts';

/** The fixed fields of the message that a tail belongs to. */
export type FixedValue = Readonly<Record<string, number | bigint>>;

/**
 * What a tail is made of, as data: the documentation is written from it, and so are the tests' random values.
 * `count` and `length` name the fixed field that tells the extent; null: whatever is left of the message.
 */
export type TailShape =
  | { readonly kind: 'bytes'; readonly length: string | null; readonly unit: number }
  | {
      readonly kind: 'array';
      readonly count: string;
      readonly element: ElementShape;
      readonly older: readonly ElementShape[];
    }
  | { readonly kind: 'optional'; readonly flag: number; readonly body: BodyShape }
  | { readonly kind: 'text'; readonly format: string }
  | { readonly kind: 'chain' };

/** An element of an array tail. */
export interface ElementShape {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly FieldPlace[];
}

/** A fixed part and what follows it. */
export interface BodyShape {
  readonly fixed: ElementShape;
  readonly tail: { readonly name: string; readonly doc: string; readonly shape: TailShape } | null;
}

/**
 * What may follow the fixed part of a payload. `N` is its name in the value, `V` its value, `L` the fixed fields that
 * follow from it (a count, an offset): they are checked when read and computed when written.
 */
export interface Tail<N extends string, V, L extends string> {
  readonly name: N;
  readonly doc: string;
  readonly shape: TailShape;
  /** Reads the tail from where the cursor stands, after the fixed part. */
  read(cursor: Cursor, fixed: FixedValue): V;
  /** Bytes that `write` will fill. */
  size(value: V): number;
  write(bytes: Uint8Array, at: number, value: V): void;
  /** The fixed fields that follow from the value; what is absent stays as the caller gave it. */
  link(value: V, fixed: FixedValue): Readonly<Partial<Record<L, number>>>;
  print(value: V): string;
}

/** A count or length field as a number: Infinity when it is too large for one, so that every comparison refuses it. */
export function extent(fixed: FixedValue, field: string): number {
  const value = fixed[field];
  if (typeof value === 'number') return value;
  if (value === undefined || value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.POSITIVE_INFINITY;
  return Number(value);
}
