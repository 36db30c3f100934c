import { ELEMENT_SIZE, type FieldSchema, fieldSize } from '../../stream/index.ts';
import type { ArrayDeclaration, ScalarDeclaration } from './declarations.ts';
import { copyLittleEndian } from './little-endian.ts';

/** A declared field and its name. */
export interface NamedField {
  readonly name: string;
  readonly declaration: ScalarDeclaration<number | bigint | boolean> | ArrayDeclaration<unknown>;
}

interface PlacedField extends NamedField {
  readonly schema: FieldSchema;
  readonly offset: number;
}

/** The buffer of all fields, once for each width of access. */
interface Words {
  readonly buffer: ArrayBuffer;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
}

/**
 * All fields of a state in one buffer, the widest first so that each is aligned, behind accessors that index typed
 * arrays: these wrap what is assigned as C does, and cost nanoseconds.
 */
export class PackedFields {
  readonly schemas: readonly FieldSchema[];
  readonly #fields: readonly PlacedField[];
  readonly #words: Words;
  readonly #live: object;

  /** Lays out `fields` and defines a property on `live` for each. */
  constructor(fields: readonly NamedField[], live: object) {
    const { placed, size } = place(fields);
    const buffer = new ArrayBuffer(Math.ceil(size / 8) * 8);
    this.#fields = placed;
    this.#words = {
      buffer,
      u8: new Uint8Array(buffer),
      u16: new Uint16Array(buffer),
      u32: new Uint32Array(buffer),
      u64: new BigUint64Array(buffer),
    };
    this.#live = live;
    this.schemas = fields.map(schemaOf);
    for (const field of placed) Object.defineProperty(live, field.name, propertyOf(field, this.#words));
    this.reset();
  }

  /** Gives every field its initial value. */
  reset(): void {
    for (const field of this.#fields) this.#resetField(field);
  }

  /** The value of each field, little-endian. */
  *save(): Iterable<readonly [name: string, value: Uint8Array]> {
    for (const field of this.#fields) {
      const value = new Uint8Array(fieldSize(field.schema));
      copyLittleEndian(this.#bytesOf(field), value, ELEMENT_SIZE[field.schema.type]);
      yield [field.name, value];
    }
  }

  /** Takes over little-endian values of the right size; a field without one gets its initial value. */
  load(lookup: (name: string) => Uint8Array | undefined): void {
    for (const field of this.#fields) {
      const value = lookup(field.name);
      if (value === undefined) this.#resetField(field);
      else copyLittleEndian(value, this.#bytesOf(field), ELEMENT_SIZE[field.schema.type]);
    }
  }

  #bytesOf(field: PlacedField): Uint8Array {
    return this.#words.u8.subarray(field.offset, field.offset + fieldSize(field.schema));
  }

  #resetField({ name, declaration }: PlacedField): void {
    if (declaration.kind === 'scalar') Reflect.set(this.#live, name, declaration.initial);
    else declaration.clear(Reflect.get(this.#live, name));
  }
}

function schemaOf({ name, declaration }: NamedField): FieldSchema {
  const { type, since } = declaration;
  return { name, type, count: declaration.kind === 'scalar' ? 1 : declaration.count, since };
}

function place(fields: readonly NamedField[]): { placed: readonly PlacedField[]; size: number } {
  let size = 0;
  const widestFirst = fields
    .map((field) => ({ ...field, schema: schemaOf(field) }))
    .sort((a, b) => ELEMENT_SIZE[b.schema.type] - ELEMENT_SIZE[a.schema.type]);
  const placed = widestFirst.map((field) => {
    const offset = size;
    size += fieldSize(field.schema);
    return { ...field, offset };
  });
  return { placed, size };
}

function propertyOf(field: PlacedField, words: Words): PropertyDescriptor {
  if (field.declaration.kind === 'array') {
    return { enumerable: true, value: field.declaration.view(words.buffer, field.offset) };
  }
  return { enumerable: true, ...accessorOf(field.schema.type, field.offset, words) };
}

function accessorOf(type: FieldSchema['type'], offset: number, words: Words): PropertyDescriptor {
  if (type === 'bool') {
    const { u8 } = words;
    return {
      get: () => u8[offset] !== 0,
      set: (value: boolean) => {
        u8[offset] = value ? 1 : 0;
      },
    };
  }
  if (type === 'u64') return accessor(words.u64, offset / 8);
  if (type === 'u32') return accessor(words.u32, offset / 4);
  if (type === 'u16') return accessor(words.u16, offset / 2);
  return accessor(words.u8, offset);
}

function accessor<V extends number | bigint>(
  words: { [index: number]: V },
  index: number,
): PropertyDescriptor {
  return {
    get: () => words[index],
    set: (value: V) => {
      words[index] = value;
    },
  };
}
