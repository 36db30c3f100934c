import { parseJson } from '../protocol/index.ts';
import { ChannelError } from './channel-error.ts';
import type { ChannelRole, KindDeclaration, KindTail } from './kind.ts';
import { type Message, type MessageKind, messages } from './messages.ts';

/** Any message as its declaration sees it. */
type AnyValue = Readonly<Record<string, unknown>>;

const byNumber: ReadonlyMap<number, readonly [MessageKind, KindDeclaration]> = new Map(
  Object.entries(messages).map(([name, declared]) => [
    declared.number,
    // Object.entries forgets that the keys are those of `messages`.
    [name as MessageKind, declared] as const,
  ]),
);

/** The declaration of a message by its number on the wire. */
export function kindOf(number: number): KindDeclaration | undefined {
  return byNumber.get(number)?.[1];
}

/** The name of a kind by its number, or the number. */
export function kindName(number: number): string {
  return byNumber.get(number)?.[0] ?? `kind ${number}`;
}

/** The most bytes that the payload of a message of this kind may have, body included. */
export function maxPayload({ fixed, tail }: KindDeclaration): number {
  if (tail.tail === 'none') return fixed.size;
  return fixed.size + (tail.tail === 'rows' ? tail.maxRows * tail.row.size : tail.maxBytes);
}

/**
 * The bytes of a message without its body. They are in `scratch` (of MAX_FIXED bytes) when it is all fixed fields.
 * @throws ChannelError ERR_CHANNEL_MESSAGE when a value does not fit, or the role may not send it
 */
export function encodeMessage(
  message: Message,
  bodyLength: number,
  from: ChannelRole,
  scratch: Uint8Array,
): Uint8Array {
  const declared: KindDeclaration = messages[message.kind];
  const { fixed, tail } = declared;
  if (declared.from !== 'both' && declared.from !== from) unsendable(message.kind, `is not for the ${from}`);
  const misfit = fixed.misfit(message);
  if (misfit !== null) unsendable(message.kind, `has a ${misfit} that can't be sent`);
  if (bodyLength > (tail.tail === 'body' ? tail.maxBytes : 0)) {
    unsendable(message.kind, `can't have a body of ${bodyLength} bytes`);
  }
  const following = encodeTail(message.kind, tail, message);
  const size = fixed.size + following.length;
  const bytes = following.length === 0 ? scratch.subarray(0, size) : new Uint8Array(size);
  fixed.write(new DataView(bytes.buffer, bytes.byteOffset, size), 0, message);
  bytes.set(following, fixed.size);
  return bytes;
}

const NOTHING = new Uint8Array(0);

function encodeTail(kind: MessageKind, tail: KindTail, message: AnyValue): Uint8Array {
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
  kind: MessageKind,
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

function encodeRows(
  kind: MessageKind,
  tail: Extract<KindTail, { tail: 'rows' }>,
  value: unknown,
): Uint8Array {
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

function unsendable(kind: MessageKind, why: string): never {
  throw new ChannelError('ERR_CHANNEL_MESSAGE', `${kind} ${why}`, { context: { message: kind } });
}

/** A message as it arrived. */
export interface DecodedMessage {
  readonly message: Message;
  /** A view of the payload; empty for a kind without body. */
  readonly body: Uint8Array;
}

/**
 * Bytes to a message.
 * @throws ChannelError ERR_CHANNEL_MALFORMED for an unknown kind, one that `from` may not send, and for whatever breaks
 * the form or the bounds of its kind
 */
export function decodeMessage(number: number, payload: Uint8Array, from: ChannelRole): DecodedMessage {
  const [kind, declared] = byNumber.get(number) ?? malformed(kindName(number), 'is unknown here');
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
  // The declaration that read the value is the one that the type of this kind is derived from.
  return { message: value as unknown as Message, body: tail.tail === 'body' ? following : NOTHING };
}

function decodeTail(kind: MessageKind, tail: KindTail, bytes: Uint8Array): AnyValue | null {
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

function decodeText(kind: MessageKind, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return malformed(kind, 'is no UTF-8');
  }
}

function decodeRows(
  kind: MessageKind,
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

/** One line that says what a message is: `DATA device=0, 4096 bytes`. */
export function describeChannelMessage(message: Message, body: Uint8Array): string {
  const { fixed, tail }: KindDeclaration = messages[message.kind];
  const value: AnyValue = message;
  const parts = [message.kind, fixed.print(value), printTail(tail, value)].filter((part) => part !== '');
  return tail.tail === 'body' ? `${parts.join(' ')}, ${body.length} bytes` : parts.join(' ');
}

function printTail(tail: KindTail, value: AnyValue): string {
  if (tail.tail === 'none' || tail.tail === 'body') return '';
  const content = value[tail.name];
  if (tail.tail !== 'rows' || !Array.isArray(content)) return `${tail.name}=${JSON.stringify(content)}`;
  return `${tail.name}=[${content.map((entry) => `{${tail.row.print(entry)}}`).join(' ')}]`;
}
