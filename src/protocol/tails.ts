import { Buffer } from 'node:buffer';
import type { Fields, Struct, StructValue } from './layout.ts';
import { type ElementShape, extent, type FixedValue, type Tail } from './tail.ts';
import { wireName } from './wire-name.ts';

/** How many bytes of data the printer shows in hex before it only counts them. */
const PRINTED_BYTES = 32;

/** Bytes as lower-case hex, cut after {@link PRINTED_BYTES} with the full length named. */
export function printBytes(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, PRINTED_BYTES)).toString(
    'hex',
  );
  return bytes.length > PRINTED_BYTES ? `${hex}..(${bytes.length} bytes)` : hex;
}

/** What a {@link bytes} tail may be told. */
export interface BytesOptions<L extends string> {
  /** The field that holds the length; without it the tail is all that is left. */
  readonly length?: L;
  /** The length must be a multiple of this, 1 by default. */
  readonly unit?: number;
}

/** Declares raw data. Decoding copies nothing: the value is a view of the message's bytes. */
export function bytes<const N extends string, const L extends string = never>(
  name: N,
  doc: string,
  options: BytesOptions<L> = {},
): Tail<N, Uint8Array, L> {
  const { length, unit = 1 } = options;
  return {
    name,
    doc,
    shape: { kind: 'bytes', length: length ?? null, unit },
    read: (cursor, fixed) => {
      const size = length === undefined ? cursor.left : extent(fixed, length);
      if (size % unit !== 0)
        cursor.fail(wireName(name), `has ${size} bytes, which is no multiple of ${unit}`);
      const at = cursor.take(size, wireName(name));
      return cursor.bytes.subarray(at, at + size);
    },
    size: (value) => value.length,
    write: (target, at, value) => target.set(value, at),
    link: (value) => linked(length, value.length),
    print: (value) => `${wireName(name)}=${printBytes(value)}`,
  };
}

/** An older or rarer form of an element, told apart by its size. */
export interface OlderElement<V> {
  readonly shape: ElementShape;
  read(view: DataView, at: number): V;
}

/** Declares an older form of a struct and how its value becomes one of today's. */
export function older<F extends Fields, V>(
  form: Struct<F>,
  upgrade: (value: StructValue<F>) => V,
): OlderElement<V> {
  return { shape: form, read: (view, at) => upgrade(form.read(view, at)) };
}

/** Declares an array of structs, as many as the field `count` says, of one form in one message. */
export function array<const N extends string, F extends Fields, const L extends string>(
  name: N,
  doc: string,
  element: Struct<F>,
  options: { readonly count: L; readonly older?: readonly OlderElement<StructValue<F>>[] },
): Tail<N, readonly StructValue<F>[], L> {
  const forms = [{ shape: element, read: element.read }, ...(options.older ?? [])];
  const label = wireName(name);
  return {
    name,
    doc,
    shape: {
      kind: 'array',
      count: options.count,
      element,
      older: forms.slice(1).map(({ shape }) => shape),
    },
    read: (cursor, fixed) => {
      const count = extent(fixed, options.count);
      const form = forms.find(({ shape }) => shape.size * count === cursor.left) ?? forms[0];
      const size = form === undefined ? element.size : form.shape.size;
      const start = cursor.take(count * size, `${label}[${count}]`);
      const read = form?.read ?? element.read;
      return Array.from({ length: count }, (_, i) => read(cursor.view, start + i * size));
    },
    size: (value) => value.length * element.size,
    write: (target, at, value) => {
      const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
      value.forEach((entry, i) => {
        element.write(view, at + i * element.size, entry);
      });
    },
    link: (value) => linked(options.count, value.length),
    print: (value) => `${label}=[${value.map((entry) => `{${element.print(entry)}}`).join(' ')}]`,
  };
}

/** `{ [field]: value }`, or nothing without a field. */
function linked<L extends string>(field: L | undefined, value: number): Readonly<Partial<Record<L, number>>> {
  const entry: Partial<Record<L, number>> = {};
  if (field !== undefined) entry[field] = value;
  return entry;
}

/** Whether the flag `bit` is set in the fixed part's `flags`. */
export function hasFlag(fixed: FixedValue, bit: number): boolean {
  return (extent(fixed, 'flags') & bit) !== 0;
}
