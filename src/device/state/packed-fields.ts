import { ELEMENT_SIZE, type FieldSchema, fieldSize } from '../../stream/index.ts';
import type { ArrayDeclaration, ScalarDeclaration } from './declarations.ts';
import { copyLittleEndian } from './little-endian.ts';
import { LiveFields } from './live-fields.ts';

/** A declared field and its name. */
export interface NamedField {
  readonly name: string;
  readonly declaration: ScalarDeclaration<number | bigint | boolean> | ArrayDeclaration<unknown>;
}

interface PlacedField extends NamedField {
  readonly schema: FieldSchema;
  readonly offset: number;
}

/** All fields of a state in one buffer, the widest first so that each is aligned. */
export class PackedFields {
  /** In the order of the declaration. */
  readonly schemas: readonly FieldSchema[];
  /** The object that has a property for each field. */
  readonly live: object;
  readonly #fields: readonly PlacedField[];
  readonly #bytes: Uint8Array;

  constructor(fields: readonly NamedField[]) {
    const { placed, size } = place(fields);
    const buffer = new ArrayBuffer(Math.ceil(size / 8) * 8);
    this.schemas = fields.map(schemaOf);
    this.live = new LiveFields(buffer);
    this.#fields = placed;
    this.#bytes = new Uint8Array(buffer);
    for (const field of placed) Object.defineProperty(this.live, field.name, propertyOf(field, buffer));
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
    return this.#bytes.subarray(field.offset, field.offset + fieldSize(field.schema));
  }

  #resetField({ name, declaration }: PlacedField): void {
    if (declaration.kind === 'scalar') Reflect.set(this.live, name, declaration.initial);
    else declaration.clear(Reflect.get(this.live, name));
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

function propertyOf({ declaration, schema, offset }: PlacedField, buffer: ArrayBuffer): PropertyDescriptor {
  if (declaration.kind === 'scalar') return LiveFields.accessor(schema.type, offset);
  return { enumerable: true, value: declaration.view(buffer, offset) };
}
