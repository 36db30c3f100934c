import type { FlagSet } from '../protocol/index.ts';

/** A field of the channel's structures: always little-endian, since the two sides may be different hosts. */
export interface ChannelField<V> {
  readonly type: 'u8' | 'u16' | 'u32' | 'u64' | 'id';
  readonly size: number;
  readonly doc: string;
  /** For a set of bits: what they are. Unknown ones are refused. */
  readonly flags?: FlagSet;
  /** The caller has checked that `size` bytes are there. */
  read(view: DataView, at: number): V;
  write(view: DataView, at: number, value: V): void;
  /** Whether `value`, whatever it is, can be written. */
  fits(value: unknown): boolean;
}

/** A field of any of the types of values. */
export type AnyField = ChannelField<number> | ChannelField<bigint> | ChannelField<string>;

/** Fields in the order of the wire, packed. */
export type ChannelFields = Readonly<Record<string, AnyField>>;

/** The value of a structure with these fields. */
export type FieldValues<F extends ChannelFields> = {
  readonly [K in keyof F]: F[K] extends ChannelField<infer V> ? V : never;
};

/** Where a field lies. */
export interface ChannelPlace {
  readonly name: string;
  /** Bytes from the start of the structure. */
  readonly offset: number;
  readonly field: AnyField;
}

/** A packed structure, declared once: offsets, size, reader, writer and printer follow. */
export interface ChannelStruct<F extends ChannelFields> {
  readonly size: number;
  readonly places: readonly ChannelPlace[];
  /** The byte offset of each field. */
  readonly at: { readonly [K in keyof F]: number };
  read(view: DataView, at: number): FieldValues<F>;
  /** Writes what {@link ChannelStruct.misfit} has found in order. */
  write(view: DataView, at: number, value: Readonly<Record<string, unknown>>): void;
  /** The name of the first field whose value can't be written; null when all can. */
  misfit(value: Readonly<Record<string, unknown>>): string | null;
  /** `name=value` of every field. */
  print(value: Readonly<Record<string, unknown>>): string;
}

/** Bytes of an id, such as that of a session. */
export const ID_SIZE = 16;

/** An id that nothing has: 32 zeros. */
export const NO_ID = '00'.repeat(ID_SIZE);

const ID_PATTERN = /^[0-9a-f]{32}$/;

function unsigned(size: 1 | 2 | 4): (value: unknown) => boolean {
  const limit = 2 ** (size * 8);
  return (value) => typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < limit;
}

/** Declares an unsigned 8-bit field. */
export const u8 = (doc: string): ChannelField<number> => ({
  ...{ type: 'u8', size: 1, doc, fits: unsigned(1) },
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
});

/** Declares an unsigned 16-bit field. */
export const u16 = (doc: string): ChannelField<number> => ({
  ...{ type: 'u16', size: 2, doc, fits: unsigned(2) },
  read: (view, at) => view.getUint16(at, true),
  write: (view, at, value) => view.setUint16(at, value, true),
});

/** Declares an unsigned 32-bit field. */
export const u32 = (doc: string): ChannelField<number> => ({
  ...{ type: 'u32', size: 4, doc, fits: unsigned(4) },
  read: (view, at) => view.getUint32(at, true),
  write: (view, at, value) => view.setUint32(at, value, true),
});

/** Declares a 32-bit set of bits. Bits that it does not know are neither sent nor taken. */
export const bits = (doc: string, flags: FlagSet): ChannelField<number> => ({
  ...u32(doc),
  flags,
  fits: (value) => typeof value === 'number' && unsigned(4)(value) && flags.unknown(value) === 0n,
});

/** Declares an unsigned 64-bit field; its value is a bigint. */
export const u64 = (doc: string): ChannelField<bigint> => ({
  ...{ type: 'u64', size: 8, doc },
  fits: (value) => typeof value === 'bigint' && BigInt.asUintN(64, value) === value,
  read: (view, at) => view.getBigUint64(at, true),
  write: (view, at, value) => view.setBigUint64(at, value, true),
});

/** Declares 16 bytes without inner structure; the value is 32 lower-case hex digits. */
export const id = (doc: string): ChannelField<string> => ({
  ...{ type: 'id', size: ID_SIZE, doc },
  fits: (value) => typeof value === 'string' && ID_PATTERN.test(value),
  read: (view, at) => Buffer.from(view.buffer, view.byteOffset + at, ID_SIZE).toString('hex'),
  write: (view, at, value) => {
    Buffer.from(view.buffer, view.byteOffset + at, ID_SIZE).write(value, 'hex');
  },
});

/** Declares a structure. */
export function channelStruct<const F extends ChannelFields>(declared: F): ChannelStruct<F> {
  let size = 0;
  const places = Object.entries(declared).map(([name, field]) => {
    const offset = size;
    size += field.size;
    return { name, offset, field };
  });
  const at = Object.fromEntries(places.map(({ name, offset }) => [name, offset]));
  return {
    size,
    places,
    // Both casts join the loop over the entries with the types derived from the same declaration: the keys and the
    // types of the values are those of `declared`, which TypeScript can't follow through Object.entries.
    at: at as ChannelStruct<F>['at'],
    read: (view, base) => readAll(places, view, base) as FieldValues<F>,
    write: (view, base, value) => {
      for (const { name, offset, field } of places) writeOne(field, view, base + offset, value[name]);
    },
    misfit: (value) => places.find(({ name, field }) => !field.fits(value[name]))?.name ?? null,
    print: (value) => places.map(({ name, field }) => `${name}=${printOne(field, value[name])}`).join(' '),
  };
}

function readAll(places: readonly ChannelPlace[], view: DataView, base: number): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const { name, offset, field } of places) value[name] = field.read(view, base + offset);
  return value;
}

/** The union of the field types takes no value as it is; `fits` has told that this one is of the field's own type. */
function writeOne(field: AnyField, view: DataView, at: number, value: unknown): void {
  const write: (view: DataView, at: number, value: never) => void = field.write;
  write(view, at, value as never);
}

function printOne(field: AnyField, value: unknown): string {
  if (field.flags !== undefined && typeof value === 'number') return field.flags.print(value);
  return String(value);
}
