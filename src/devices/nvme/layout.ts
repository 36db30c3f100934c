/** One field of a structure: where it is, and how its value becomes bytes. */
export interface LayoutField<V> {
  /** First byte. */
  readonly at: number;
  /** Bytes. */
  readonly size: number;
  put(bytes: Uint8Array, value: V): void;
}

/** Fields by name; the names are those of the specification. */
type Fields = Readonly<Record<string, LayoutField<never>>>;

/** The value of each field; what is left out is zero. */
type Values<F extends Fields> = {
  readonly [K in keyof F]?: F[K] extends LayoutField<infer V> ? V : never;
};

/** A structure in guest memory, little-endian, declared once. */
export interface Layout<F extends Fields> {
  /** Bytes. */
  readonly size: number;
  readonly fields: F;
  encode(values: Values<F>): Uint8Array;
}

/** Declares a structure of `size` bytes. */
export function layout<const F extends Fields>(size: number, fields: F): Layout<F> {
  return {
    size,
    fields,
    encode(values) {
      const bytes = new Uint8Array(size);
      for (const [name, field] of Object.entries(fields)) {
        const value = values[name];
        // The type of `values` ties each value to its field; Object.entries forgets that.
        if (value !== undefined) field.put(bytes, value as never);
      }
      return bytes;
    },
  };
}

/** A number of 1, 2 or 4 bytes. */
export function uint(at: number, size: 1 | 2 | 4): LayoutField<number> {
  return {
    at,
    size,
    put: (bytes, value) => {
      for (let i = 0; i < size; i++) bytes[at + i] = value >>> (8 * i);
    },
  };
}

/** A number of 8 or 16 bytes. */
export function wide(at: number, size: 8 | 16): LayoutField<bigint> {
  return {
    at,
    size,
    put: (bytes, value) => {
      for (let i = 0; i < size; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    },
  };
}

/** ASCII, filled up with spaces; what is too long is cut. */
export function text(at: number, size: number): LayoutField<string> {
  return {
    at,
    size,
    put: (bytes, value) => {
      for (let i = 0; i < size; i++) bytes[at + i] = value.padEnd(size).charCodeAt(i);
    },
  };
}

/** Bytes as they are; what is too long is cut. */
export function raw(at: number, size: number): LayoutField<Uint8Array> {
  return { at, size, put: (bytes, value) => bytes.set(value.subarray(0, size), at) };
}
