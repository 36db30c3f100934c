import { ProtocolError } from './protocol-error.ts';
import { wireName } from './wire-name.ts';

/** A value that JSON.parse can give. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What a capability may be: the reader of its JSON value and its description. */
export interface JsonField<V> {
  readonly type: string;
  readonly doc: string;
  /** Throws ProtocolError EINVAL, naming `path`, unless the value is of the type and in the range. */
  parse(value: Json, path: string): V;
  /** The JSON value to send. */
  toJson(value: V): Json;
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

/** Declares an integer from `min` to `max`, both included. */
export function integer(
  doc: string,
  range: { readonly min: number; readonly max: number },
): JsonField<number> {
  const { min, max } = range;
  return {
    type: `integer, ${min} to ${max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : max}`,
    doc,
    parse: (value, path) => {
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
      return refuse(path, value, `an integer from ${min} to ${max}`);
    },
    toJson: (value) => value,
  };
}

/** Declares a power of two from `min` to 2^52. */
export function powerOfTwo(doc: string, min: number): JsonField<number> {
  return {
    type: `power of two, at least ${min}`,
    doc,
    parse: (value, path) => {
      if (
        typeof value === 'number' &&
        value >= min &&
        Number.isSafeInteger(value) &&
        Number.isInteger(Math.log2(value))
      )
        return value;
      return refuse(path, value, `a power of two, at least ${min}`);
    },
    toJson: (value) => value,
  };
}

/** Declares true or false. */
export function boolean(doc: string): JsonField<boolean> {
  return {
    type: 'boolean',
    doc,
    parse: (value, path) => (typeof value === 'boolean' ? value : refuse(path, value, 'true or false')),
    toJson: (value) => value,
  };
}

/** Declares an object; members carry the wire's names in JSON (`maxMsgFds` is `max_msg_fds`). */
export function object<const M extends Members>(doc: string, members: M): JsonObject<M> {
  const entries = Object.entries(members);
  return {
    type: 'object',
    doc,
    members,
    // The casts join the loop over the members with the type that was derived from the same declaration.
    parse: (value, path) => {
      if (value === null || typeof value !== 'object' || Array.isArray(value))
        return refuse(path, value, 'an object');
      const named = value as { readonly [key: string]: Json };
      const found = entries
        .filter(([name]) => Object.hasOwn(named, wireName(name)))
        .map(([name, field]) => [
          name,
          field.parse(named[wireName(name)] ?? null, `${path}.${wireName(name)}`),
        ]);
      return Object.fromEntries(found) as MemberValues<M>;
    },
    toJson: (value) => {
      const given = value as Readonly<Record<string, unknown>>;
      return Object.fromEntries(
        entries
          .filter(([name]) => given[name] !== undefined)
          .map(([name, field]) => [wireName(name), field.toJson(given[name])]),
      );
    },
  };
}

function refuse(path: string, value: Json, wanted: string): never {
  const shown = JSON.stringify(value).slice(0, 40);
  throw new ProtocolError(`VERSION: ${path} must be ${wanted}, not ${shown}`, {
    context: { message: 'VERSION', field: path, value: shown },
  });
}
