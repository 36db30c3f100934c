import type { Cursor } from './cursor.ts';
import type { Fields, Struct, StructValue } from './layout.ts';
import type { BodyShape, ElementShape, FixedValue, Tail } from './tail.ts';
import { hasFlag, type OlderElement } from './tails.ts';
import { wireName } from './wire-name.ts';

/** A value of a body with fixed fields `F` and a tail named `N`. */
export type BodyValue<F extends Fields, N extends string, V> = StructValue<F> & { readonly [K in N]: V };

/** What a body is written from: fields that follow from the tail (`L`) may be left out and are computed. */
export type BodyInput<F extends Fields, N extends string, V, L extends string> = Omit<StructValue<F>, L> & {
  readonly [K in L & keyof StructValue<F>]?: StructValue<F>[K];
} & { readonly [K in N]: V };

/** How a body is read. */
export interface ReadOptions<T> {
  readonly older?: OlderElement<T> | null;
  readonly check?: (fixed: T) => void;
}

/** A fixed part and perhaps a tail; the whole of a payload or a part of one that a flag switches on. */
export interface Body<F extends Fields, N extends string, V, L extends string> {
  readonly shape: BodyShape;
  /** `check` sees the fixed part before the tail is read, so that a count is refused before it is believed. */
  read(cursor: Cursor, options?: ReadOptions<StructValue<F>>): BodyValue<F, N, V>;
  /** Completes an input with what follows from its tail. */
  link(input: BodyInput<F, N, V, L>): BodyValue<F, N, V>;
  size(value: BodyValue<F, N, V>): number;
  write(bytes: Uint8Array, at: number, value: BodyValue<F, N, V>): void;
  print(value: BodyValue<F, N, V>): string;
}

/** Joins a fixed part and a tail. */
export function body<F extends Fields, N extends string = never, V = never, L extends string = never>(
  fixed: Struct<F>,
  tail: Tail<N, V, L> | null,
): Body<F, N, V, L> {
  // The casts of this function join the two halves of a value, which TypeScript keeps apart because the name of the
  // tail is a type parameter. Both halves come from the same declaration.
  type Value = BodyValue<F, N, V>;
  const tailOf = (value: Readonly<Record<string, unknown>>, name: N): V => value[name] as V;
  return {
    shape: { fixed, tail },
    read: (cursor, { older = null, check } = {}) => {
      const head = readFixed(cursor, fixed, older);
      check?.(head);
      return (
        tail === null ? head : { ...head, [tail.name]: tail.read(cursor, head as FixedValue) }
      ) as Value;
    },
    link: (input) => {
      if (tail === null) return input as unknown as Value;
      const links: Readonly<Record<string, unknown>> = tail.link(
        tailOf(input, tail.name),
        input as FixedValue,
      );
      return { ...input, ...toFieldTypes(fixed, links) } as unknown as Value;
    },
    size: (value) => fixed.size + (tail === null ? 0 : tail.size(tailOf(value, tail.name))),
    write: (bytes, at, value) => {
      fixed.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at, value);
      if (tail !== null) tail.write(bytes, at + fixed.size, tailOf(value, tail.name));
    },
    print: (value) => {
      const parts = [fixed.print(value), tail === null ? '' : tail.print(tailOf(value, tail.name))];
      return parts.filter((part) => part !== '').join(' ');
    },
  };
}

/** Reads the fixed part, or its older form when the message is exactly as long as that. */
function readFixed<F extends Fields>(
  cursor: Cursor,
  fixed: Struct<F>,
  older: OlderElement<StructValue<F>> | null,
): StructValue<F> {
  if (older !== null && cursor.left === older.shape.size) {
    return older.read(cursor.view, cursor.take(older.shape.size, fixed.name));
  }
  if (cursor.left < fixed.size) cursor.fail(...missing(cursor, fixed));
  return fixed.read(cursor.view, cursor.take(fixed.size, fixed.name));
}

/** The first field that the message is too short for, what to say about it, and its byte. */
function missing(cursor: Cursor, fixed: ElementShape): [string, string, number] {
  const start = cursor.at;
  const place = fixed.fields.find(({ offset, field }) => offset + field.size > cursor.left);
  const what = `is missing: ${fixed.size} bytes are needed, ${cursor.left} came`;
  return [place?.wireName ?? fixed.name, what, start + (place?.offset ?? 0)];
}

/** Counts as bigint where the field is a u64. */
function toFieldTypes(
  fixed: ElementShape,
  links: Readonly<Record<string, unknown>>,
): Record<string, number | bigint> {
  const typed: Record<string, number | bigint> = {};
  for (const { name, field } of fixed.fields) {
    const value = links[name];
    if (typeof value === 'number') typed[name] = field.type === 'u64' ? BigInt(value) : value;
  }
  return typed;
}

/** Declares a part that is there when the fixed part's `flags` have `flag`, and null otherwise. */
export function optional<const N extends string, F extends Fields, M extends string, V, L extends string>(
  name: N,
  doc: string,
  flag: number,
  part: Body<F, M, V, L>,
): Tail<N, BodyValue<F, M, V> | null, never> {
  // A whole value is also an input: linking it again only replaces counts by what they have to be.
  const linked = (value: BodyValue<F, M, V>) => part.link(value as unknown as BodyInput<F, M, V, L>);
  return {
    name,
    doc,
    shape: { kind: 'optional', flag, body: part.shape },
    read: (cursor, fixed) => (hasFlag(fixed, flag) ? part.read(cursor) : null),
    size: (value) => (value === null ? 0 : part.size(value)),
    write: (bytes, at, value) => {
      if (value !== null) part.write(bytes, at, linked(value));
    },
    link: () => ({}),
    print: (value) => `${wireName(name)}=${value === null ? 'none' : `{${part.print(value)}}`}`,
  };
}
