import { littleEndian } from './byte-order.ts';
import type { FlagSet } from './flags.ts';
import { ProtocolError } from './protocol-error.ts';
import { wireName } from './wire-name.ts';

/** The scalar types of the wire. */
export type ScalarType = 'u8' | 'u16' | 'u32' | 'i32' | 'u64';

/** How a field shows itself to people: decimal, hex, the names of its bits, or whatever a function says. */
export type FieldFormat = 'decimal' | 'hex' | FlagSet | ((value: number) => string);

/** What a declaration may say of a field besides its type and meaning. */
export interface FieldOptions {
  /** `decimal` by default. */
  readonly format?: FieldFormat;
  /** The only value that is accepted and sent. */
  readonly only?: number;
  /** For flags: unknown bits are an error (EINVAL). By default they are left to whoever reads the value. */
  readonly strict?: boolean;
}

/** One field of a struct: its type, its meaning, and how it is printed. */
export interface Field<V extends number | bigint> {
  readonly type: ScalarType;
  readonly size: number;
  readonly doc: string;
  readonly options: FieldOptions;
  read(view: DataView, at: number): V;
  write(view: DataView, at: number, value: V): void;
  fits(value: V): boolean;
}

/** Bytes that mean nothing: written as zero, ignored when read, absent from the value. */
export interface Padding {
  readonly type: 'padding';
  readonly size: number;
  readonly doc: string;
  readonly options: FieldOptions;
}

/** The fields of a struct, in the order of the wire (packed, no alignment). */
export type Fields = Readonly<Record<string, Field<number> | Field<bigint> | Padding>>;

/** The TypeScript value of a struct with these fields. */
export type StructValue<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Padding ? never : K]: F[K] extends Field<infer V> ? V : never;
};

/** Where a field of a struct lies. */
export interface FieldPlace {
  /** The name in code and values. */
  readonly name: string;
  /** The name in the specification. */
  readonly wireName: string;
  /** Bytes from the start of the struct. */
  readonly offset: number;
  readonly field: Field<number> | Field<bigint> | Padding;
}

/** The value of a struct: `ValueOfStruct<typeof Header>`. */
export type ValueOfStruct<S extends { readonly declared: Fields }> = StructValue<S['declared']>;

/** A packed, fixed-size structure of the wire. */
export interface Struct<F extends Fields> {
  readonly name: string;
  readonly size: number;
  /** The declaration itself. */
  readonly declared: F;
  readonly fields: readonly FieldPlace[];
  /** The byte offset of each field from the start of the struct, for handlers that read in place. */
  readonly at: { readonly [K in keyof F]: number };
  /** Reads the struct at `at`. The caller has checked that `size` bytes are there. */
  read(view: DataView, at: number): StructValue<F>;
  /** Writes the struct at `at`; throws {@link ProtocolError} when a value does not fit its field. */
  write(view: DataView, at: number, value: StructValue<F>): void;
  /** `name=value` of every field, with the wire's names. */
  print(value: StructValue<F>): string;
}

/** Declares an unsigned 8-bit field. */
export const u8 = (doc: string, options: FieldOptions = {}): Field<number> => ({
  ...unsigned('u8', 1, doc, options),
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
});

/** Declares an unsigned 16-bit field. */
export const u16 = (doc: string, options: FieldOptions = {}): Field<number> => ({
  ...unsigned('u16', 2, doc, options),
  read: (view, at) => view.getUint16(at, littleEndian),
  write: (view, at, value) => view.setUint16(at, value, littleEndian),
});

/** Declares an unsigned 32-bit field. */
export const u32 = (doc: string, options: FieldOptions = {}): Field<number> => ({
  ...unsigned('u32', 4, doc, options),
  read: (view, at) => view.getUint32(at, littleEndian),
  write: (view, at, value) => view.setUint32(at, value, littleEndian),
});

/** Declares a signed 32-bit field. */
export const i32 = (doc: string, options: FieldOptions = {}): Field<number> => ({
  type: 'i32',
  size: 4,
  doc,
  options,
  read: (view, at) => view.getInt32(at, littleEndian),
  write: (view, at, value) => view.setInt32(at, value, littleEndian),
  fits: (value) => (value | 0) === value,
});

/** Declares an unsigned 64-bit field; its value is a bigint. */
export const u64 = (doc: string, options: FieldOptions = {}): Field<bigint> => ({
  type: 'u64',
  size: 8,
  doc,
  options,
  read: (view, at) => view.getBigUint64(at, littleEndian),
  write: (view, at, value) => view.setBigUint64(at, value, littleEndian),
  fits: (value) => typeof value === 'bigint' && BigInt.asUintN(64, value) === value,
});

/** Declares `size` bytes without meaning. */
export const padding = (size: number, doc = 'reserved, zero'): Padding => ({
  type: 'padding',
  size,
  doc,
  options: {},
});

function unsigned<T extends ScalarType>(type: T, size: number, doc: string, options: FieldOptions) {
  const limit = 2 ** (size * 8);
  return {
    type,
    size,
    doc,
    options,
    fits: (value: number) => Number.isInteger(value) && value >= 0 && value < limit,
  };
}

/** Declares a struct: offsets, size, reader, writer and printer follow from the fields. */
export function struct<const F extends Fields>(name: string, fields: F): Struct<F> {
  const places = place(fields);
  const last = places.at(-1);
  const at: Record<string, number> = Object.fromEntries(places.map(({ name: key, offset }) => [key, offset]));
  return {
    name,
    size: last === undefined ? 0 : last.offset + last.field.size,
    declared: fields,
    fields: places,
    // The casts below are the one place where the declaration's type meets the loop over its entries: both have
    // exactly the keys of `fields`, which TypeScript cannot follow through Object.entries.
    at: at as Struct<F>['at'],
    read: (view, base) => readFields(places, view, base) as StructValue<F>,
    write: (view, base, value) => writeFields(name, places, view, base, value),
    print: (value) => printFields(places, value),
  };
}

function place(fields: Fields): readonly FieldPlace[] {
  let offset = 0;
  return Object.entries(fields).map(([name, field]) => {
    const at = offset;
    offset += field.size;
    return { name, wireName: wireName(name), offset: at, field };
  });
}

type AnyValue = Readonly<Record<string, unknown>>;

function readFields(places: readonly FieldPlace[], view: DataView, base: number): AnyValue {
  const value: Record<string, number | bigint> = {};
  for (const { name, offset, field } of places) {
    if (field.type !== 'padding') value[name] = field.read(view, base + offset);
  }
  return value;
}

function writeFields(
  struct: string,
  places: readonly FieldPlace[],
  view: DataView,
  base: number,
  value: AnyValue,
) {
  for (const { name, offset, field } of places) {
    if (field.type === 'padding') {
      for (let i = 0; i < field.size; i += 1) view.setUint8(base + offset + i, 0);
    } else {
      writeField(struct, name, field, view, base + offset, value[name]);
    }
  }
}

function writeField(
  struct: string,
  name: string,
  field: Field<number> | Field<bigint>,
  view: DataView,
  at: number,
  value: unknown,
): void {
  if (field.type === 'u64' ? typeof value === 'bigint' : typeof value === 'number') {
    // Which of the two field types it is was checked above against the value's own type.
    const scalar = field as Field<number | bigint>;
    const checked = value as number | bigint;
    if (scalar.fits(checked)) {
      scalar.write(view, at, checked);
      return;
    }
  }
  throw new ProtocolError(
    `${struct}: ${wireName(name)} cannot be sent: ${String(value)} is no ${field.type}`,
    {
      context: { struct, field: wireName(name), value: String(value) },
    },
  );
}

function printFields(places: readonly FieldPlace[], value: AnyValue): string {
  return places
    .filter(({ field }) => field.type !== 'padding')
    .map(({ name, wireName: label, field }) => `${label}=${printScalar(value[name], field.options.format)}`)
    .join(' ');
}

/** A field's value as people read it. */
export function printScalar(value: unknown, format: FieldFormat = 'decimal'): string {
  if (typeof value !== 'number' && typeof value !== 'bigint') return String(value);
  if (format === 'decimal') return String(value);
  if (format === 'hex') return `0x${value.toString(16)}`;
  return typeof format === 'function' ? format(Number(value)) : format.print(value);
}
