import { MAX_INSPECT_DEPTH, parseJson } from '../../protocol/index.ts';
import { allNodes, type DecodedMessage, decodeMessage, type FieldNode } from '../decode/index.ts';
import { nodeText } from '../index-names.ts';

/** A field in which an answer is not as it was recorded. */
export interface Difference {
  /** The field, by its names from the message on: `region_read.reply.data`. */
  readonly field: string;
  /** What was recorded, and what came now; null: the field was not there. */
  readonly recorded: string | null;
  readonly now: string | null;
}

/** What of an answer is compared. */
export interface Answer {
  readonly bytes: Uint8Array;
  readonly fds: number;
}

/** Whether a field may differ. */
export type Ignored = (field: string) => boolean;

/** What differs wherever it is compared: ids of processes and moments. */
const ALWAYS = [
  'ferry_claim.reply.instance',
  'ferry_claim.reply.since',
  'ferry_inspect.reply.report.instance',
  'ferry_inspect.reply.report.main.pid',
];

/** Makes the rule of what may differ from names such as `data`, `region_read.data`, `version.*`; `*` fits anything. */
export function ignoring(names: readonly string[]): Ignored {
  const patterns = [...ALWAYS, ...names].map(patternOf);
  return (field) => {
    const short = field.replace('.reply', '');
    return patterns.some((pattern) => pattern.test(field) || pattern.test(short));
  };
}

function patternOf(name: string): RegExp {
  const pieces = name.toLowerCase().split('*');
  const inner = pieces.map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*');
  return new RegExp(`(?:^|\\.)${inner}$`);
}

/** In which fields two answers to the same request differ. The ids of messages are the sender's, and do not count. */
export function compareAnswers(recorded: Answer, now: Answer): Difference[] {
  const before = fieldsOf(recorded);
  const after = fieldsOf(now);
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names.flatMap((field): Difference[] => {
    const [was, is] = [before.get(field) ?? null, after.get(field) ?? null];
    if (was?.exact === is?.exact) return [];
    return [{ field, recorded: was?.text ?? null, now: is?.text ?? null }];
  });
}

interface Shown {
  /** Tells values apart that look alike, such as data that is cut. */
  readonly exact: string;
  readonly text: string;
}

function fieldsOf({ bytes, fds }: Answer): ReadonlyMap<string, Shown> {
  const message = decodeMessage(bytes);
  const outcome = message.kind === 'error' ? message.errno : message.kind;
  const fields = new Map<string, Shown>([
    [`${message.name.toLowerCase()}.reply.outcome`, plain(outcome)],
    [`${message.name.toLowerCase()}.reply.fds`, plain(String(fds))],
  ]);
  const counts = new Map<string, number>();
  for (const [key, value] of leaves(message)) {
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    fields.set(count === 0 ? key : `${key}[${count}]`, value);
  }
  return fields;
}

const plain = (text: string): Shown => ({ exact: text, text });

function* leaves({ fields }: DecodedMessage): Generator<readonly [key: string, value: Shown]> {
  for (const node of allNodes(fields)) {
    const key = node.key.replace(/^vfio_user\./, '');
    if (typeof node.value === 'string') yield* membersOf(key, parsed(node.value));
    else if (node.value !== null) yield [key, shown(node)];
  }
}

/** The members of a JSON value, each by its path. */
function* membersOf(key: string, value: unknown): Generator<readonly [key: string, value: Shown]> {
  if (typeof value !== 'object' || value === null) return yield [key, plain(String(value))];
  const entries = Object.entries(value);
  if (entries.length === 0) yield [key, plain(Array.isArray(value) ? '[]' : '{}')];
  for (const [name, member] of entries) yield* membersOf(`${key}.${name}`, member);
}

/** What is no JSON, or nests deeper than any message of ours may, stays a text. */
function parsed(text: string): unknown {
  const refuse = (reason: string): never => {
    throw new SyntaxError(reason);
  };
  try {
    return parseJson(new TextEncoder().encode(text), MAX_INSPECT_DEPTH, refuse);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

function shown(node: FieldNode): Shown {
  const { value } = node;
  const exact = value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
  return { exact, text: nodeText(node) };
}
