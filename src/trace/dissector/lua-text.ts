/** A Lua value that is written as it stands: a name or an expression. */
export class LuaCode {
  readonly code: string;

  constructor(code: string) {
    this.code = code;
  }
}

/** What {@link lua} can write. A plain object becomes a table with names, an array one with numbers from 1. */
export type LuaValue =
  | string
  | number
  | boolean
  | LuaCode
  | readonly LuaValue[]
  | { readonly [name: string]: LuaValue | undefined };

/** A value as Lua source. */
export function lua(value: LuaValue): string {
  if (value instanceof LuaCode) return value.code;
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'object') return table(value);
  return String(value);
}

function table(value: readonly LuaValue[] | { readonly [name: string]: LuaValue | undefined }): string {
  if (isArray(value)) return `{${value.map(lua).join(', ')}}`;
  const members = Object.entries(value).flatMap(([name, each]) =>
    each === undefined ? [] : [`${/^[a-z_]\w*$/i.test(name) ? name : `[${quoted(name)}]`} = ${lua(each)}`],
  );
  return `{${members.join(', ')}}`;
}

function isArray(value: LuaValue): value is readonly LuaValue[] {
  return Array.isArray(value);
}

/** Printable ASCII stays; anything else becomes the escapes of its bytes. */
function quoted(text: string): string {
  const bytes = [...new TextEncoder().encode(text)];
  const inner = bytes.map((byte) => {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    return plain ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, '0')}`;
  });
  return `"${inner.join('')}"`;
}
