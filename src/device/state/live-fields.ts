import type { FieldType } from '../../stream/index.ts';

/** A property of {@link LiveFields}. */
type Accessor = PropertyDescriptor & ThisType<LiveFields>;

/**
 * The object whose properties are the fields of a state: one buffer, and for each field an accessor that indexes a
 * typed array over it. Typed arrays wrap what is assigned as C does.
 *
 * The accessors are shared by all objects (they find the buffer through `this`), because the engine optimises an
 * access only while it meets few different ones: with accessors of their own, fields of eight devices of one class
 * were fifty times slower than those of one.
 */
export class LiveFields {
  static readonly #accessors = new Map<string, Accessor>();
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #u64: BigUint64Array;

  /** The length of `buffer` is a multiple of 8. */
  constructor(buffer: ArrayBuffer) {
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#u64 = new BigUint64Array(buffer);
  }

  /** The property of a single value at `offset`, which is aligned to its type. */
  static accessor(type: FieldType, offset: number): PropertyDescriptor {
    const place = `${type}@${offset}`;
    const accessor = LiveFields.#accessors.get(place) ?? {
      enumerable: true,
      ...LiveFields.#create(type, offset),
    };
    LiveFields.#accessors.set(place, accessor);
    return accessor;
  }

  static #create(type: FieldType, offset: number): Accessor {
    switch (type) {
      case 'u16':
        return LiveFields.#createU16(offset / 2);
      case 'u32':
        return LiveFields.#createU32(offset / 4);
      case 'u64':
        return LiveFields.#createU64(offset / 8);
      case 'bool':
        return LiveFields.#createBool(offset);
      default:
        return LiveFields.#createU8(offset);
    }
  }

  static #createBool(index: number): Accessor {
    return {
      get() {
        return this.#u8[index] !== 0;
      },
      set(value: boolean) {
        this.#u8[index] = value ? 1 : 0;
      },
    };
  }

  static #createU8(index: number): Accessor {
    return {
      get() {
        return this.#u8[index];
      },
      set(value: number) {
        this.#u8[index] = value;
      },
    };
  }

  static #createU16(index: number): Accessor {
    return {
      get() {
        return this.#u16[index];
      },
      set(value: number) {
        this.#u16[index] = value;
      },
    };
  }

  static #createU32(index: number): Accessor {
    return {
      get() {
        return this.#u32[index];
      },
      set(value: number) {
        this.#u32[index] = value;
      },
    };
  }

  static #createU64(index: number): Accessor {
    return {
      get() {
        return this.#u64[index];
      },
      set(value: bigint) {
        this.#u64[index] = value;
      },
    };
  }
}
