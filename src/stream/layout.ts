/** A field of a record: always little-endian, since a state may be read on another host than it was written on. */
export interface LayoutField {
  readonly type: 'u32' | 'u64';
  readonly size: number;
  readonly doc: string;
  read(view: DataView, at: number): number;
  write(view: DataView, at: number, value: number): void;
}

/** A packed structure of the stream, declared once: offsets, reader and writer follow from the fields. */
export interface Layout<K extends string> {
  readonly size: number;
  /** In the order of the stream, for the documentation. */
  readonly fields: readonly { readonly name: K; readonly offset: number; readonly field: LayoutField }[];
  /** Byte offset of each field. */
  readonly at: Readonly<Record<K, number>>;
  read(view: DataView): Readonly<Record<K, number>>;
  write(view: DataView, value: Readonly<Record<K, number>>): void;
}

/** Declares an unsigned 32-bit field. */
export const u32 = (doc: string): LayoutField => ({
  type: 'u32',
  size: 4,
  doc,
  read: (view, at) => view.getUint32(at, true),
  write: (view, at, value) => view.setUint32(at, value, true),
});

/** Declares an unsigned 64-bit field as a number; what exceeds 2^53 - 1 is read as Infinity, which no bound admits. */
export const u64 = (doc: string): LayoutField => ({
  type: 'u64',
  size: 8,
  doc,
  read: (view, at) => {
    const value = Number(view.getBigUint64(at, true));
    return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
  },
  write: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
});

/** Declares a structure at the start of a buffer. */
export function layout<const F extends Readonly<Record<string, LayoutField>>>(
  declared: F,
): Layout<keyof F & string> {
  type Key = keyof F & string;
  let size = 0;
  const places = Object.entries(declared).map(([name, field]) => {
    const offset = size;
    size += field.size;
    return { name, offset, field };
  });
  // Object.entries and Object.fromEntries forget that the keys are those of the declaration.
  const at = Object.fromEntries(places.map(({ name, offset }) => [name, offset])) as Record<Key, number>;
  const fields = places as readonly { name: Key; offset: number; field: LayoutField }[];
  return {
    size,
    fields,
    at,
    read: (view) =>
      Object.fromEntries(fields.map(({ name, offset, field }) => [name, field.read(view, offset)])) as Record<
        Key,
        number
      >,
    write: (view, value) => {
      for (const { name, offset, field } of fields) field.write(view, offset, value[name]);
    },
  };
}
