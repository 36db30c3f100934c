import type { Told } from './conversation.ts';
import { allNodes, type DecodedMessage, type FieldNode } from './decode/index.ts';
import { parseDuration } from './durations.ts';
import { fieldNames } from './field-names.ts';
import { indexName } from './index-names.ts';
import { TraceError } from './recording/index.ts';

/** Whether a message is to be shown. */
export type Filter = (told: Told) => boolean;

/** What a message has besides its fields; several values mean that any may fit. */
const properties: Readonly<Record<string, (told: Told) => readonly (string | bigint)[]>> = {
  command: ({ message }) => [message.name],
  kind: ({ message }) => [message.kind],
  from: ({ event }) => [event.from],
  socket: ({ event }) => [event.connection.role],
  connection: ({ event }) => [BigInt(event.connection.number)],
  id: ({ message }) => [BigInt(message.header.messageId)],
  errno: ({ message }) => (message.errno === '' ? [] : [message.errno, BigInt(message.header.error)]),
  latency: ({ latency }) => (latency === null ? [] : [latency]),
  bytes: ({ event }) => [BigInt(event.wireSize)],
  fds: ({ event }) => [BigInt(event.fds.length)],
  fd: ({ event }) => event.fds.map(({ kind }) => kind),
  state: ({ change }) => (change === null ? [] : [change.to]),
  problem: ({ message }) => [message.problems.length > 0 ? 'yes' : 'no'],
};

const COMPARISONS: Readonly<Record<string, (value: bigint, wanted: bigint) => boolean>> = {
  '<': (value, wanted) => value < wanted,
  '<=': (value, wanted) => value <= wanted,
  '>': (value, wanted) => value > wanted,
  '>=': (value, wanted) => value >= wanted,
};

/**
 * A filter from its text: terms apart by spaces, all of which must hold. A term is a property or the name of a field, one
 * of `=`, `!=`, `<`, `<=`, `>`, `>=`, and a value; after `=` and `!=` several values apart by commas, and `*` in them.
 * Where a reply lacks a field, its request's counts.
 * @throws TraceError ERR_TRACE_FILTER
 */
export function parseFilter(text: string): Filter {
  const terms = text.split(/\s+/).filter((term) => term !== '');
  const filters = terms.map(parseTerm);
  return (told) => filters.every((one) => one(told));
}

function parseTerm(term: string): Filter {
  const [, name = '', operator = '', value = ''] = /^([\w.]+)(!=|<=|>=|=|<|>)(.+)$/.exec(term) ?? [];
  if (name === '') {
    throw unfit(
      `"${term}" is no term of a filter: write one such as command=REGION_*, errno!=EINVAL or latency>1ms`,
    );
  }
  const values = valuesOf(name);
  const compare = COMPARISONS[operator];
  if (compare !== undefined) {
    const wanted = numberOf(value);
    if (wanted === null) throw unfit(`"${term}": ${value} is no number and no time such as 100us`);
    return (told) => values(told).some((each) => typeof each === 'bigint' && compare(each, wanted));
  }
  const fits = value.split(',').map(matcher);
  const some: Filter = (told) => values(told).some((each) => fits.some((one) => one(each)));
  return operator === '=' ? some : (told) => !some(told);
}

function valuesOf(name: string): (told: Told) => readonly (string | bigint)[] {
  const property = properties[name];
  if (property !== undefined) return property;
  if (!fieldNames().has(name)) {
    throw unfit(
      `"${name}" is neither a property (${Object.keys(properties).join(', ')}) nor a field of any message`,
    );
  }
  return ({ message, request }) => {
    const own = fieldValues(message, name);
    return own.length > 0 || request === null ? own : fieldValues(request, name);
  };
}

function fieldValues({ head, fields }: DecodedMessage, name: string): readonly (string | bigint)[] {
  const found: (string | bigint)[] = [];
  for (const node of allNodes([...head, ...fields])) {
    if (node.key.endsWith(`.${name}`)) found.push(...nodeValues(node));
    for (const part of node.parts)
      if (part.key.endsWith(`.${name}`)) found.push(BigInt(part.value), part.text);
  }
  return found;
}

function nodeValues(node: FieldNode): readonly (string | bigint)[] {
  const { value, text } = node;
  const named = indexName(node);
  const number = typeof value === 'number' || typeof value === 'bigint' ? [BigInt(value)] : [];
  return [...number, text, ...(named === null ? [] : [named])];
}

/** Whether a value is the one that was written: the same number, or a text that fits, whatever its case. */
function matcher(wanted: string): (value: string | bigint) => boolean {
  const number = numberOf(wanted);
  const pattern = wanted
    .split('*')
    .map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  const text = new RegExp(`^${pattern}$`, 'is');
  return (value) => (typeof value === 'bigint' ? value === number : text.test(value));
}

function numberOf(text: string): bigint | null {
  if (/^(?:\d+|0x[\da-f]+)$/i.test(text)) return BigInt(text);
  return parseDuration(text);
}

function unfit(message: string): TraceError {
  return new TraceError('ERR_TRACE_FILTER', message);
}
