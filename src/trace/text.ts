import { errnoName } from '../errors/index.ts';
import { HeaderFlag } from '../protocol/index.ts';
import { across, type FdFacts, type FlowEnd, type Side } from '../relay/index.ts';
import type { Told } from './conversation.ts';
import { type FieldNode, printBytes } from './decode/index.ts';
import { formatDuration, timeOfDay } from './durations.ts';
import { describeFacts } from './fd-facts.ts';
import { nodeText } from './index-names.ts';
import type { StateChange } from './state-watch.ts';
import type { TracedConnection, TraceEvent } from './trace-event.ts';

/** How a trace is coloured. Each function returns its text, dressed. */
export interface TraceStyle {
  /** What belongs to one connection. */
  stream(connection: number, text: string): string;
  error(text: string): string;
  change(text: string): string;
  dim(text: string): string;
}

/** How the lines of a trace are written. */
export interface LineOptions {
  readonly style: TraceStyle;
  /** Each field in a line of its own, with its bytes. */
  readonly fields?: boolean;
}

const ARROWS: Readonly<Record<Side, string>> = { client: '->', server: '<-' };

/** `#1` for a main socket, `#2c` for a control socket. */
function streamName({ number, role }: TracedConnection): string {
  return role === 'control' ? `#${number}c` : `#${number}`;
}

function lead(event: TraceEvent, from: Side | null, style: TraceStyle): string {
  const { connection, time } = event;
  const arrow = from === null ? '--' : ARROWS[from];
  return `${style.dim(timeOfDay(time))} ${style.stream(connection.number, `${streamName(connection)} ${arrow}`)}`;
}

/** The lines of a message: one, and more for what is to be noticed. */
export function messageLines(told: Told, { style, fields = false }: LineOptions): string[] {
  const { event, message } = told;
  const title = style.stream(event.connection.number, `${message.name} ${message.header.messageId}`);
  const notes = [contentOf(told, style, fields), flagNotes(told), ...event.fds.map(describeFd)];
  const text = notes.filter((note) => note !== '').join(', ');
  const latency = told.latency === null ? '' : style.dim(` [${formatDuration(told.latency)}]`);
  const line = `${lead(event, event.from, style)} ${title}${text === '' ? '' : `: ${text}`}${latency}`;
  return [
    line,
    ...(fields ? fieldLines([...message.head, ...message.fields], '      ', style) : []),
    ...message.problems.map(({ text: what, offset }) => style.error(`      byte ${offset}: ${what}`)),
    ...(told.change === null ? [] : [style.change(`      ${changeText(told.change)}`)]),
  ];
}

function contentOf({ message, answers }: Told, style: TraceStyle, apart: boolean): string {
  if (message.kind === 'error') return style.error(message.errno);
  const unasked = message.kind === 'reply' && answers === null ? 'a reply that nobody waits for' : '';
  if (apart) return unasked;
  const fields = message.fields.map((node) => `${node.name}=${inlineText(node)}`).join(' ');
  if (unasked !== '') return `${style.error(unasked)}${fields === '' ? '' : `, ${fields}`}`;
  return fields === '' && message.kind === 'reply' ? 'done' : fields;
}

/** A long text is cut; the whole of it is in the file, and with the fields apart. */
const MAX_TEXT = 400;

function inlineText(node: FieldNode): string {
  if (node.children.length > 0) {
    return `{${node.children.map((child) => `${child.name}=${inlineText(child)}`).join(' ')}}`;
  }
  const text = plain(nodeText(node));
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}..(${text.length} characters)` : text;
}

/** Without what would control a terminal. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, '\u{fffd}');
}

function flagNotes({ message }: Told): string {
  const { kind, header } = message;
  if (kind === 'request' && (header.flags & HeaderFlag.NO_REPLY) !== 0) return 'no reply wanted';
  return '';
}

function describeFd(facts: FdFacts, index: number): string {
  return `fd[${index}] ${describeFacts(facts)}`;
}

/** `RUNNING -> STOP_COPY`, with how that is known. */
export function changeText({ from, to, by }: StateChange): string {
  const states = `state ${from ?? '?'} -> ${to}`;
  switch (by) {
    case 'set':
      return states;
    case 'seen':
      return from === null ? `state is ${to}` : `${states}, as the device says`;
    case 'reset':
      return `${states}, by a reset`;
    case 'failed':
      return `${states} refused; the state is not known now`;
  }
}

function fieldLines(nodes: readonly FieldNode[], indent: string, style: TraceStyle): string[] {
  return nodes.flatMap((node) => {
    const end = node.offset + node.size - 1;
    const place = style.dim(`${String(node.offset).padStart(5)}..${String(end).padEnd(5)}`);
    const value = node.children.length > 0 ? '' : ` = ${plain(nodeText(node))}`;
    return [`${indent}${place} ${node.name}${value}`, ...fieldLines(node.children, `${indent}  `, style)];
  });
}

/** The lines of an event that is no message. */
export function eventLines(
  event: Exclude<TraceEvent, { kind: 'message' }>,
  { style }: LineOptions,
): string[] {
  switch (event.kind) {
    case 'opened': {
      const { role } = event.connection;
      const by = event.pid === 0 ? '' : ` by process ${event.pid}`;
      return [`${lead(event, null, style)} connected to the ${role} socket${by}`];
    }
    case 'ended':
      return [`${lead(event, event.from, style)} ${endText(event.from, event.end, style)}`];
    case 'bytes': {
      const fds = event.fds.map((facts, i) => `, ${describeFd(facts, i)}`).join('');
      const what = style.error(`${event.wireSize} bytes that are no message`);
      return [`${lead(event, event.from, style)} ${what}: ${printBytes(event.bytes)}${fds}`];
    }
  }
}

function endText(from: Side, end: FlowEnd, style: TraceStyle): string {
  if (end.kind === 'end of stream') return `the ${from} has closed`;
  const errno = errnoName(end.errno);
  if (end.kind === 'lost') return style.error(`the ${from} was lost: ${errno}`);
  return style.dim(`the ${across(from)} takes nothing any more: ${errno}`);
}
