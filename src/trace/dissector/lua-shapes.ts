import { type BodyShape, type ElementShape, type TailShape, wireName } from '../../protocol/index.ts';
import { partsOf } from '../decode/index.ts';
import type { LuaValue } from './lua-text.ts';
import type { ProtoFields } from './proto-fields.ts';

/** Turns shapes into tables that the runtime walks, and names their fields to Wireshark on the way. */
export class LuaShapes {
  readonly #fields: ProtoFields;

  constructor(fields: ProtoFields) {
    this.#fields = fields;
  }

  /** A fixed part, whose fields have names that begin with `key`. */
  fixed(shape: ElementShape, key: string): LuaValue {
    const fields = shape.fields.flatMap((place) => {
      if (place.field.type === 'padding') return [];
      const full = `${key}.${place.wireName}`;
      this.#fields.scalar(full, place);
      const parts = partsOf(place).map(({ name }) => `${full}.${name}`);
      const each = { name: place.name, at: place.offset, size: place.field.size, key: full };
      return [parts.length === 0 ? each : { ...each, parts }];
    });
    return { size: shape.size, fields };
  }

  /** A fixed part and its tail. */
  body(shape: BodyShape, key: string): LuaValue {
    const fixed = this.fixed(shape.fixed, key);
    if (shape.tail === null) return { fixed };
    const { name, doc, shape: tail } = shape.tail;
    return { fixed, tail: this.#tail(tail, wireName(name), `${key}.${wireName(name)}`, doc) };
  }

  #tail(shape: TailShape, name: string, key: string, doc: string): LuaValue {
    switch (shape.kind) {
      case 'bytes':
        this.#fields.bytes(key, name, doc);
        return { kind: 'bytes', key, length: shape.length ?? undefined };
      case 'text':
        this.#fields.text(key, name, doc);
        return { kind: 'text', key };
      case 'array': {
        this.#fields.group(key, name, doc);
        const forms = [shape.element, ...shape.older].map((form) => this.fixed(form, key));
        return { kind: 'array', key, name, count: shape.count, forms };
      }
      case 'optional':
        this.#fields.group(key, name, doc);
        return { kind: 'optional', key, flag: shape.flag, body: this.body(shape.body, key) };
      case 'chain':
        this.#fields.group(key, name, doc);
        return { kind: 'chain', key };
    }
  }
}
