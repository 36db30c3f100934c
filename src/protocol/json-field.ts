import { ProtocolError } from './protocol-error.ts';
import { wireName } from './wire-name.ts';

/** A value that JSON.parse can give. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What a JSON field may be, as data; numbers are integers from `min` to `max`, both included. */
export type JsonShape =
  | { readonly kind: 'boolean' }
  | { readonly kind: 'integer' | 'power of two'; readonly min: number; readonly max: number }
  | { readonly kind: 'object'; readonly members: Members };

/** The declaration of a JSON value: what it may be, what it means, how it is read and sent. */
export interface JsonField<V> {
  readonly shape: JsonShape;
  readonly doc: string;
  /** Throws ProtocolError EINVAL, naming `path`, unless the value is of the type and in the range. */
  parse(value: Json, path: string): V;
  /** The JSON value to send; throws ProtocolError EINVAL when it would not be accepted. */
  toJson(value: V, path: string): Json;
}

/** A JSON object whose known members are all optional; unknown ones are ignored. */
export interface JsonObject<M extends Members> extends JsonField<MemberValues<M>> {
  readonly members: M;
}

/** The members of a {@link JsonObject}, by their name in code. */
export type Members = Readonly<Record<string, JsonField<unknown>>>;

/** The value of a {@link JsonObject}: what is absent was not named by the peer. */
export type MemberValues<M extends Members> = {
  readonly [K in keyof M]?: M[K] extends JsonField<infer V> ? V : never;
};

/** Declares an integer from `min` to `max`, 2^53 - 1 unless given. */
export function integer(doc: string, min: number, max: number = Number.MAX_SAFE_INTEGER): JsonField<number> {
  const fits = (value: number): boolean => Number.isInteger(value) && value >= min && value <= max;
  return number(doc, { kind: 'integer', min, max }, fits);
}

/** Declares a power of two from `min` to 2^52. */
export function powerOfTwo(doc: string, min: number): JsonField<number> {
  const max = 2 ** 52;
  const fits = (value: number): boolean => value >= min && value <= max && Number.isInteger(Math.log2(value));
  return number(doc, { kind: 'power of two', min, max }, fits);
}

/** Declares true or false. */
export function boolean(doc: string): JsonField<boolean> {
  const parse = (value: Json, path: string): boolean =>
    typeof value === 'boolean' ? value : refuse(path, value, 'true or false');
  return { shape: { kind: 'boolean' }, doc, parse, toJson: parse };
}

/** Declares an object; members carry the wire's names in JSON (`maxMsgFds` is `max_msg_fds`). */
export function object<const M extends Members>(doc: string, members: M): JsonObject<M> {
  const entries = Object.entries(members).map(([name, field]) => ({ name, wire: wireName(name), field }));
  return {
    shape: { kind: 'object', members },
    doc,
    members,
    // The casts join the loop over the members with the types that were derived from the same declaration.
    parse: (value, path) => {
      if (!isObject(value)) return refuse(path, value, 'an object');
      const found = entries
        .filter(({ wire }) => Object.hasOwn(value, wire))
        .map(({ name, wire, field }) => [name, field.parse(value[wire] ?? null, `${path}.${wire}`)]);
      return Object.fromEntries(found) as MemberValues<M>;
    },
    toJson: (value, path) => {
      const given = value as Readonly<Record<string, unknown>>;
      return Object.fromEntries(
        entries
          .filter(({ name }) => given[name] !== undefined)
          .map(({ name, wire, field }) => [wire, field.toJson(given[name], `${path}.${wire}`)]),
      );
    },
  };
}

function number(doc: string, shape: JsonShape, fits: (value: number) => boolean): JsonField<number> {
  const parse = (value: Json, path: string): number =>
    typeof value === 'number' && fits(value) ? value : refuse(path, value, shapeName(shape));
  return { shape, doc, parse, toJson: parse };
}

/** What a value of this shape is called: `integer from 1 to 1024`. */
export function shapeName(shape: JsonShape): string {
  if (shape.kind === 'boolean' || shape.kind === 'object') return shape.kind;
  const { min, max } = shape;
  const top = max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : max === 2 ** 52 ? '2^52' : String(max);
  return `${shape.kind} from ${min} to ${top}`;
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function refuse(path: string, value: Json, wanted: string): never {
  const shown = JSON.stringify(value).slice(0, 40);
  throw new ProtocolError(`VERSION: ${path} must be ${wanted}, not ${shown}`, {
    context: { message: 'VERSION', field: path, value: shown },
  });
}
