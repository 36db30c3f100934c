import { parseJson } from '../protocol/index.ts';
import { ChannelError } from './channel-error.ts';
import type { ChannelRole, KindDeclaration, KindTail, KindValue } from './kind.ts';

/** Kinds of messages by their names. */
export type KindTable = Readonly<Record<string, KindDeclaration>>;

/** Any message of a table, without its body. */
export type ValueOfTable<T extends KindTable> = {
  [K in keyof T & string]: KindValue<K, T[K]>;
}[keyof T & string];

/** A message as it arrived. */
export interface Decoded<M> {
  readonly message: M;
  /** A view of the payload; empty for a kind without body. */
  readonly body: Uint8Array;
}

/** What follows from the declarations of a table of messages. */
export interface Codec<M> {
  /** The declaration by its number on the wire. */
  kindOf(number: number): KindDeclaration | undefined;
  /** The name of a kind by its number, or the number. */
  kindName(number: number): string;
  /**
   * The bytes of a message without its body. They are in `scratch` (of MAX_FIXED bytes) when it is all fixed fields.
   * @throws ChannelError ERR_CHANNEL_MESSAGE when a value does not fit, or the role may not send it
   */
  encode(message: M, bodyLength: number, from: ChannelRole, scratch: Uint8Array): Uint8Array;
  /**
   * Bytes to a message.
   * @throws ChannelError ERR_CHANNEL_MALFORMED for an unknown kind, one that `from` may not send, and for whatever
   * breaks the form or the bounds of its kind
   */
  decode(number: number, payload: Uint8Array, from: ChannelRole): Decoded<M>;
  /** One line that says what a message is: `DATA device=0, 4096 bytes`. */
  describe(message: M, body: Uint8Array): string;
}

/** Any message as its declaration sees it. */
type AnyValue = Readonly<Record<string, unknown>>;

type Named = readonly [name: string, declared: KindDeclaration];

/** Derives encoder, decoder and printer of a table. */
export function codecOf<const T extends KindTable>(table: T): Codec<ValueOfTable<T>> {
  type M = ValueOfTable<T>;
  const byName = new Map<string, KindDeclaration>(Object.entries(table));
  const byNumber = new Map<number, Named>(
    Object.entries(table).map(([name, declared]) => [declared.number, [name, declared]]),
  );
  const kindName = (number: number): string => byNumber.get(number)?.[0] ?? `kind ${number}`;
  const declarationOf = (name: string): KindDeclaration => byName.get(name) ?? unsendable(name, 'is unknown');
  return {
    kindName,
    kindOf: (number) => byNumber.get(number)?.[1],
    encode: (message, bodyLength, from, scratch) =>
      encodeValue(message.kind, declarationOf(message.kind), message, { bodyLength, from, scratch }),
    decode: (number, payload, from) => {
      const [name, declared] = byNumber.get(number) ?? malformed(kindName(number), 'is unknown here');
      // The declaration that reads the value is the one that the type of this kind is derived from.
      const message = decodeValue(name, declared, payload, from) as M;
      return {
        message,
        body: declared.tail.tail === 'body' ? payload.subarray(declared.fixed.size) : NOTHING,
      };
    },
    describe: (message, body) => describeValue(message.kind, declarationOf(message.kind), message, body),
  };
}

/** The most bytes that the payload of a message of this kind may have, body included. */
export function maxPayload({ fixed, tail }: KindDeclaration): number {
  if (tail.tail === 'none') return fixed.size;
  return fixed.size + (tail.tail === 'rows' ? tail.maxRows * tail.row.size : tail.maxBytes);
}

interface EncodeOptions {
  readonly bodyLength: number;
  readonly from: ChannelRole;
  readonly scratch: Uint8Array;
}

function encodeValue(
  kind: string,
  declared: KindDeclaration,
  message: AnyValue,
  { bodyLength, from, scratch }: EncodeOptions,
): Uint8Array {
  const { fixed, tail } = declared;
  if (declared.from !== 'both' && declared.from !== from) unsendable(kind, `is not for the ${from} to send`);
  const misfit = fixed.misfit(message);
  if (misfit !== null) unsendable(kind, `has a ${misfit} that can't be sent`);
  if (bodyLength > (tail.tail === 'body' ? tail.maxBytes : 0)) {
    unsendable(kind, `can't have a body of ${bodyLength} bytes`);
  }
  const following = encodeTail(kind, tail, message);
  const size = fixed.size + following.length;
  const bytes = following.length === 0 ? scratch.subarray(0, size) : new Uint8Array(size);
  fixed.write(new DataView(bytes.buffer, bytes.byteOffset, size), 0, message);
  bytes.set(following, fixed.size);
  return bytes;
}

const NOTHING = new Uint8Array(0);

function encodeTail(kind: string, tail: KindTail, message: AnyValue): Uint8Array {
  switch (tail.tail) {
    case 'json':
      return boundedText(kind, tail, JSON.stringify(message[tail.name]));
    case 'text':
      return boundedText(kind, tail, message[tail.name]);
    case 'rows':
      return encodeRows(kind, tail, message[tail.name]);
    default:
      return NOTHING;
  }
}

function boundedText(
  kind: string,
  tail: Extract<KindTail, { tail: 'json' | 'text' }>,
  value: unknown,
): Uint8Array {
  if (typeof value !== 'string') return unsendable(kind, `has a ${tail.name} that can't be sent`);
  const bytes = Buffer.from(value);
  if (bytes.length > tail.maxBytes) {
    unsendable(kind, `has a ${tail.name} of ${bytes.length} bytes, at most ${tail.maxBytes} are allowed`);
  }
  if (tail.tail === 'json') parseJson(bytes, tail.maxDepth, (why) => unsendable(kind, why));
  return bytes;
}

function encodeRows(kind: string, tail: Extract<KindTail, { tail: 'rows' }>, value: unknown): Uint8Array {
  const { name, row, maxRows } = tail;
  if (!Array.isArray(value) || value.length > maxRows) {
    return unsendable(kind, `needs at most ${maxRows} ${name}`);
  }
  const list: readonly AnyValue[] = value;
  const bytes = new Uint8Array(list.length * row.size);
  const view = new DataView(bytes.buffer);
  for (const [index, entry] of list.entries()) {
    const misfit = row.misfit(entry);
    if (misfit !== null) unsendable(kind, `has a ${misfit} in ${name} that can't be sent`);
    row.write(view, index * row.size, entry);
  }
  return bytes;
}

function unsendable(kind: string, why: string): never {
  throw new ChannelError('ERR_CHANNEL_MESSAGE', `${kind} ${why}`, { context: { message: kind } });
}

function decodeValue(
  kind: string,
  declared: KindDeclaration,
  payload: Uint8Array,
  from: ChannelRole,
): AnyValue {
  const { fixed, tail } = declared;
  if (declared.from !== 'both' && declared.from !== from) malformed(kind, `is not for the ${from} to send`);
  if (payload.length < fixed.size || payload.length > maxPayload(declared)) {
    malformed(kind, `can't have ${payload.length} bytes`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const following = payload.subarray(fixed.size);
  const value = { kind, ...fixed.read(view, 0), ...decodeTail(kind, tail, following) };
  const misfit = fixed.misfit(value);
  if (misfit !== null) malformed(kind, `has a wrong ${misfit}`);
  return value;
}

function decodeTail(kind: string, tail: KindTail, bytes: Uint8Array): AnyValue | null {
  switch (tail.tail) {
    case 'json':
      // A byte order mark, which the decoder of UTF-8 would skip.
      if (bytes[0] === 0xef) malformed(kind, 'is no JSON in UTF-8');
      return { [tail.name]: parseJson(bytes, tail.maxDepth, (why) => malformed(kind, why)) };
    case 'text':
      return { [tail.name]: decodeText(kind, bytes) };
    case 'rows':
      return { [tail.name]: decodeRows(kind, tail, bytes) };
    default:
      return null;
  }
}

function decodeText(kind: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return malformed(kind, 'is no UTF-8');
  }
}

function decodeRows(
  kind: string,
  { name, row }: Extract<KindTail, { tail: 'rows' }>,
  bytes: Uint8Array,
): readonly AnyValue[] {
  if (bytes.length % row.size !== 0) malformed(kind, `has ${name} of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / row.size }, (_, index) => {
    const value = row.read(view, index * row.size);
    const misfit = row.misfit(value);
    if (misfit !== null) malformed(kind, `has a wrong ${misfit} in ${name}`);
    return value;
  });
}

function malformed(kind: string, why: string): never {
  throw new ChannelError('ERR_CHANNEL_MALFORMED', `${kind} ${why}`, { context: { message: kind } });
}

function describeValue(
  kind: string,
  { fixed, tail }: KindDeclaration,
  value: AnyValue,
  body: Uint8Array,
): string {
  const parts = [kind, fixed.print(value), printTail(tail, value)].filter((part) => part !== '');
  return tail.tail === 'body' ? `${parts.join(' ')}, ${body.length} bytes` : parts.join(' ');
}

function printTail(tail: KindTail, value: AnyValue): string {
  if (tail.tail === 'none' || tail.tail === 'body') return '';
  const content = value[tail.name];
  if (tail.tail !== 'rows' || !Array.isArray(content)) return `${tail.name}=${JSON.stringify(content)}`;
  return `${tail.name}=[${content.map((entry) => `{${tail.row.print(entry)}}`).join(' ')}]`;
}
