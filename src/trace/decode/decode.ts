import { errnoName } from '../../errors/index.ts';
import {
  type AnyPayload,
  Command,
  commandName,
  FEATURE_MASK,
  FeatureFlag,
  FeatureHead,
  featureOf,
  HEADER_SIZE,
  Header,
  HeaderFlag,
  isCommand,
  isReply,
  messageOf,
  ProtocolError,
} from '../../protocol/index.ts';
import { type FieldNode, payloadKey, ROOT_KEY } from './field-node.ts';
import { bytesNode } from './nodes.ts';
import { type Source, walkBody } from './walk-body.ts';
import { extentOf } from './walk-fields.ts';

/** What a message is. `invalid` has a type that is neither command nor reply. */
export type MessageKind = 'request' | 'reply' | 'error' | 'invalid';

/** Something about a message that its declaration does not allow. */
export interface Problem {
  /** What is wrong, with the field and its byte. */
  readonly text: string;
  /** The byte it is about, from the start of the message. */
  readonly offset: number;
}

/** A message taken apart. */
export interface DecodedMessage {
  readonly kind: MessageKind;
  readonly header: Header;
  /** The command, `command N` when it is not declared. */
  readonly name: string;
  /** The errno's name; empty unless this is an error. */
  readonly errno: string;
  /** The header's fields. */
  readonly head: readonly FieldNode[];
  /** The payload's. Every byte that no declared field covers is in a field `undeclared`. */
  readonly fields: readonly FieldNode[];
  readonly problems: readonly Problem[];
}

/** The key of bytes that nothing declares. */
export const UNDECLARED_KEY = `${ROOT_KEY}.undeclared`;

/**
 * Takes a message apart by the protocol's declarations. `bytes` is the whole of it, header included, and at least that;
 * fewer or more than its header says is a problem like any other. `fds`: how many came with it, undefined when that is
 * not known. Never throws for what is in the bytes.
 */
export function decodeMessage(bytes: Uint8Array, fds?: number): DecodedMessage {
  return new Decoded(bytes, fds);
}

/** Takes a message apart as far as somebody asks: most are only counted. */
class Decoded implements DecodedMessage {
  readonly kind: MessageKind;
  readonly header: Header;
  readonly #source: Source;
  readonly #fds: number | undefined;
  #fields: readonly FieldNode[] | null = null;
  #problems: readonly Problem[] | null = null;

  constructor(bytes: Uint8Array, fds: number | undefined) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#source = { bytes, view };
    this.#fds = fds;
    this.header = Header.read(view, 0);
    this.kind = kindOf(this.header.flags);
  }

  get name(): string {
    return commandName(this.header.command);
  }

  get errno(): string {
    return this.kind === 'error' ? errorName(this.header.error) : '';
  }

  get head(): readonly FieldNode[] {
    return walkBody({ fixed: Header, tail: null }, `${ROOT_KEY}.header`, this.#source, 0).nodes;
  }

  get fields(): readonly FieldNode[] {
    this.#fields ??= this.#walk();
    return this.#fields;
  }

  get problems(): readonly Problem[] {
    const { header, kind } = this;
    const { bytes } = this.#source;
    this.#problems ??= [
      ...sizeProblems(header, bytes.length),
      ...contentProblems(kind, header.command, bytes, this.#fds),
    ];
    return this.#problems;
  }

  #walk(): readonly FieldNode[] {
    const body = bodyOf(this.kind, this.header.command, this.#source);
    if (body.end >= this.#source.bytes.length) return body.nodes;
    return [...body.nodes, undeclared(this.#source, body.end)];
  }
}

function kindOf(flags: number): MessageKind {
  if (isCommand(flags)) return 'request';
  if (!isReply(flags)) return 'invalid';
  return (flags & HeaderFlag.ERROR) === 0 ? 'reply' : 'error';
}

function errorName(errno: number): string {
  return errno === 0 ? 'an error without an errno' : errnoName(errno);
}

interface Body {
  readonly nodes: readonly FieldNode[];
  readonly end: number;
}

const NO_BODY: Body = { nodes: [], end: HEADER_SIZE };

/** The payload that a message has by its command and direction; undefined when nothing is declared. */
function payloadOf(kind: MessageKind, command: number): AnyPayload | undefined {
  const declared = kind === 'request' || kind === 'reply' ? messageOf(command) : undefined;
  return kind === 'request' ? declared?.request : declared?.reply;
}

function bodyOf(kind: MessageKind, command: number, source: Source): Body {
  const payload = payloadOf(kind, command);
  if (payload === undefined) return NO_BODY;
  if (command === Command.DEVICE_FEATURE) return featureBody(payload, kind, source);
  const { older, shape, label } = payload;
  const whole = older?.size === source.bytes.length - HEADER_SIZE ? { fixed: older, tail: null } : shape;
  return walkBody(whole, payloadKey(label), source, HEADER_SIZE);
}

/** DEVICE_FEATURE: its head, and the data by the feature's own declaration where there is one. */
function featureBody(payload: AnyPayload, kind: MessageKind, source: Source): Body {
  const key = payloadKey(payload.label);
  const head = walkBody({ fixed: payload.shape.fixed, tail: null }, key, source, HEADER_SIZE);
  const data = featurePayload(extentOf(head.values, 'flags'), kind);
  if (data === null) {
    const rest =
      head.end < source.bytes.length
        ? [bytesNode('data', `${key}.data`, source.bytes, head.end, source.bytes.length)]
        : [];
    return { nodes: [...head.nodes, ...rest], end: source.bytes.length };
  }
  const inner = walkBody(data.shape, payloadKey(data.label), source, head.end);
  return { nodes: [...head.nodes, ...inner.nodes], end: inner.end };
}

function featurePayload(flags: number, kind: MessageKind): AnyPayload | null {
  if (!Number.isFinite(flags) || (flags & FeatureFlag.PROBE) !== 0) return null;
  const feature = featureOf(flags & FEATURE_MASK);
  const set = (flags & FeatureFlag.SET) !== 0 ? feature?.set : null;
  const method = (flags & FeatureFlag.GET) !== 0 ? feature?.get : set;
  if (method === undefined || method === null) return null;
  return kind === 'request' ? method.request : method.reply;
}

function undeclared({ bytes }: Source, at: number): FieldNode {
  return bytesNode('undeclared', UNDECLARED_KEY, bytes, at, bytes.length);
}

function sizeProblems({ size }: Header, length: number): readonly Problem[] {
  if (size === length) return [];
  return [{ text: `the header says ${size} bytes, there are ${length}`, offset: Header.at.size }];
}

/** What the declared decoder says, which knows every rule. */
function contentProblems(
  kind: MessageKind,
  command: number,
  bytes: Uint8Array,
  fds: number | undefined,
): readonly Problem[] {
  if (kind === 'invalid') return [{ text: 'it is neither a command nor a reply', offset: Header.at.flags }];
  if (kind === 'error') {
    const extra = bytes.length - HEADER_SIZE;
    return extra === 0
      ? []
      : [{ text: `an error is a header alone, this has ${extra} bytes more`, offset: HEADER_SIZE }];
  }
  const payload = payloadOf(kind, command);
  if (payload === undefined) return [{ text: 'no such command', offset: Header.at.command }];
  const content = bytes.subarray(HEADER_SIZE);
  const problem = refusal(() => payload.decode(content, fds), HEADER_SIZE);
  if (problem !== null || command !== Command.DEVICE_FEATURE) return problem === null ? [] : [problem];
  return featureProblems(kind, bytes);
}

function featureProblems(kind: MessageKind, bytes: Uint8Array): readonly Problem[] {
  const start = HEADER_SIZE + FeatureHead.size;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { flags } = FeatureHead.read(view, HEADER_SIZE);
  const data = featurePayload(flags, kind);
  if (data === null) return [];
  const problem = refusal(() => data.decode(bytes.subarray(start)), start);
  return problem === null ? [] : [problem];
}

/** Why a declared decoder refuses; null when it does not. */
function refusal(decode: () => unknown, base: number): Problem | null {
  try {
    decode();
    return null;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { byte } = error.context;
    return { text: error.message, offset: base + (typeof byte === 'number' ? byte : 0) };
  }
}
