import type { Json } from '../protocol/index.ts';
import type { ChannelFields, ChannelStruct, FieldValues } from './layout.ts';
import { channelStruct } from './layout.ts';
import { MAX_BODY, MAX_JSON, MAX_JSON_DEPTH, MAX_ROWS } from './limits.ts';

/** The two sides of a migration: the one that has the state, and the one that gets it. */
export type ChannelRole = 'sender' | 'receiver';

/** Who may send a kind of message. `both`: either side; `channel`: either, for the channel's own use. */
export type Originator = ChannelRole | 'both';

/** What follows the fixed fields of a message, up to the end of the frame. */
export type KindTail =
  | { readonly tail: 'none' }
  /** Raw bytes, handed over beside the message. */
  | { readonly tail: 'body'; readonly doc: string; readonly maxBytes: number; readonly live: boolean }
  /** Strict UTF-8 JSON. */
  | {
      readonly tail: 'json';
      readonly name: string;
      readonly doc: string;
      readonly maxBytes: number;
      readonly maxDepth: number;
    }
  /** Strict UTF-8. */
  | { readonly tail: 'text'; readonly name: string; readonly doc: string; readonly maxBytes: number }
  /** Rows of equal form. */
  | {
      readonly tail: 'rows';
      readonly name: string;
      readonly doc: string;
      readonly maxRows: number;
      readonly row: ChannelStruct<ChannelFields>;
    };

/** A kind of message as it is declared. */
export interface KindDeclaration<F extends ChannelFields = ChannelFields, T extends KindTail = KindTail> {
  /** Its number on the wire. */
  readonly number: number;
  readonly from: Originator;
  readonly doc: string;
  readonly fixed: ChannelStruct<F>;
  readonly tail: T;
}

/** What the tail adds to the value of a message; a body travels beside it. */
export type TailValue<T extends KindTail> = T extends { readonly tail: 'json'; readonly name: infer N }
  ? { readonly [K in N & string]: Json }
  : T extends { readonly tail: 'text'; readonly name: infer N }
    ? { readonly [K in N & string]: string }
    : T extends {
          readonly tail: 'rows';
          readonly name: infer N;
          readonly row: ChannelStruct<infer R>;
        }
      ? { readonly [K in N & string]: readonly FieldValues<R>[] }
      : unknown;

/** The value of a message of the kind named `K` that is declared as `D`. */
export type KindValue<K extends string, D extends KindDeclaration> = {
  readonly kind: K;
} & (D extends KindDeclaration<infer F, infer T> ? FieldValues<F> & TailValue<T> : never);

/** Declares a kind of message. */
export function kind<const F extends ChannelFields, const T extends KindTail = { readonly tail: 'none' }>(
  number: number,
  from: Originator,
  doc: string,
  fields: F,
  tail?: T,
): KindDeclaration<F, T> {
  // Without a tail T is its default.
  const following = tail ?? ({ tail: 'none' } as T);
  return { number, from, doc, fixed: channelStruct(fields), tail: following };
}

/** Declares raw bytes after the fixed fields. */
export const body = (doc: string) => ({ tail: 'body', doc, maxBytes: MAX_BODY, live: false }) as const;

/** Declares raw bytes that somebody else may be changing while they are sent: the channel takes a copy first. */
export const liveBody = (doc: string) => ({ ...body(doc), live: true }) as const;

/** Declares JSON after the fixed fields. */
export const json = <const N extends string>(
  name: N,
  doc: string,
  maxBytes: number = MAX_JSON,
  maxDepth: number = MAX_JSON_DEPTH,
) => ({ tail: 'json', name, doc, maxBytes, maxDepth }) as const;

/** Declares a text after the fixed fields. */
export const text = <const N extends string>(name: N, doc: string, maxBytes: number) =>
  ({ tail: 'text', name, doc, maxBytes }) as const;

/** Declares a table after the fixed fields. */
export const rows = <const N extends string, const R extends ChannelFields>(
  name: N,
  doc: string,
  fields: R,
  maxRows: number = MAX_ROWS,
) => ({ tail: 'rows', name, doc, maxRows, row: channelStruct(fields) }) as const;
