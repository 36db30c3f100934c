import { Command, type FieldPlace } from '../../protocol/index.ts';
import { type PartShape, partsOf } from '../decode/index.ts';
import { LuaCode, type LuaValue, lua } from './lua-text.ts';

/** Values of which a field's names are asked: those of every list that the protocol has. */
const ASKED = [
  ...Array.from({ length: 256 }, (_, i) => i),
  ...Object.values(Command).filter((one) => one > 255),
];

const WIDTHS = { u8: 8, u16: 16, u32: 32, i32: 32, u64: 64 } as const;

/** The fields that Wireshark is told of, in the order in which they were met; each key once. */
export class ProtoFields {
  readonly #lines = new Map<string, string>();

  /** A number of the wire and its parts. */
  scalar(key: string, place: FieldPlace): void {
    const { field, wireName } = place;
    if (field.type === 'padding') return;
    const { format } = field.options;
    const hex = format === 'hex' || typeof format === 'object' || partsOf(place).length > 0;
    const names = typeof format === 'function' ? namesOf(format) : undefined;
    const type = field.type === 'i32' ? 'int32' : `uint${WIDTHS[field.type]}`;
    const base = new LuaCode(hex && type !== 'int32' ? 'base.HEX' : 'base.DEC');
    this.#add(key, type, [wireName, base, names ?? NIL, NIL, field.doc]);
    for (const part of partsOf(place)) this.#part(key, part, WIDTHS[field.type]);
  }

  bytes(key: string, name: string, doc: string): void {
    this.#add(key, 'bytes', [name, new LuaCode('base.NONE'), doc]);
  }

  text(key: string, name: string, doc: string): void {
    this.#add(key, 'string', [name, new LuaCode('base.UNICODE'), doc]);
  }

  group(key: string, name: string, doc: string): void {
    this.#add(key, 'none', [name, doc]);
  }

  /** A field whose declaration is written out, for what is no part of a message. */
  special(key: string, type: string, args: readonly LuaValue[]): void {
    this.#add(key, type, args);
  }

  /** The declarations, as lines of Lua. */
  get lines(): readonly string[] {
    return [...this.#lines.values()];
  }

  #part(key: string, { name, mask, print }: PartShape, width: number): void {
    if (print === null) this.#add(`${key}.${name}`, 'bool', [name, width, NIL, mask]);
    else
      this.#add(`${key}.${name}`, `uint${width}`, [
        name,
        new LuaCode('base.DEC'),
        namesOf(print) ?? NIL,
        mask,
      ]);
  }

  #add(key: string, type: string, args: readonly LuaValue[]): void {
    if (this.#lines.has(key)) return;
    const inner = [key, ...args].map((each) => lua(each)).join(', ');
    this.#lines.set(key, `F[${lua(key)}] = ProtoField.${type}(${inner})`);
  }
}

const NIL = new LuaCode('nil');

/** The names that a function gives to numbers: those that don't just repeat the number. */
function namesOf(print: (value: number) => string): LuaValue | undefined {
  const named = ASKED.flatMap((value) => {
    const name = print(value);
    return /\d/.test(name) && new RegExp(`(^|\\D)${value}($|\\D)`).test(name)
      ? []
      : [`[${value}] = ${lua(name)}`];
  });
  // A format such as binary digits names every number, and so none.
  return named.length === 0 || named.length > 64 ? undefined : new LuaCode(`{${named.join(', ')}}`);
}
