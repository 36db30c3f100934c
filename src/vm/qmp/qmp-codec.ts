import { countIn, member, textIn } from '../json.ts';
import { VmError } from '../vm-error.ts';

/** No line of a monitor is longer, in bytes: query-pci of a big machine has a few hundred KiB. */
export const MAX_QMP_LINE = 8 * 1024 * 1024;

/** What a monitor says (docs/interop/qmp-spec.rst of QEMU). */
export type QmpMessage =
  | { readonly is: 'greeting' }
  | { readonly is: 'return'; readonly id: number | null; readonly value: unknown }
  | { readonly is: 'error'; readonly id: number | null; readonly kind: string; readonly text: string }
  | {
      readonly is: 'event';
      readonly name: string;
      readonly data: unknown;
      /** When it happened, in milliseconds since 1970 by the clock of QEMU's host; null when it does not say. */
      readonly atMs: number | null;
    };

/** Cuts what a monitor sends into its lines, which are messages. Keeps no more than one line. */
export class QmpDecoder {
  readonly #limit: number;
  #rest = '';
  readonly #text = new TextDecoder('utf-8', { fatal: true });

  constructor(limit: number = MAX_QMP_LINE) {
    this.#limit = limit;
  }

  /** The messages that are complete now. @throws VmError ERR_VM_PROTOCOL */
  push(bytes: Uint8Array): readonly QmpMessage[] {
    let text: string;
    try {
      text = this.#text.decode(bytes, { stream: true });
    } catch {
      throw strange('it is no UTF-8');
    }
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > this.#limit || lines.some((line) => line.length > this.#limit)) {
      throw strange(`a line has more than ${this.#limit} characters`);
    }
    return lines.filter((line) => line.trim() !== '').map(parse);
  }
}

/** A command as it is sent. */
export function encodeCommand(id: number, execute: string, args: object | null): string {
  return `${JSON.stringify(args === null ? { execute, id } : { execute, arguments: args, id })}\n`;
}

function parse(line: string): QmpMessage {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw strange(`${quoted(line)} is no JSON`);
  }
  const id = idOf(json);
  if (member(json, 'QMP') !== undefined) return { is: 'greeting' };
  if (hasMember(json, 'return')) return { is: 'return', id, value: member(json, 'return') };
  const error = member(json, 'error');
  if (error !== undefined) {
    return {
      is: 'error',
      id,
      kind: textIn(error, 'class') ?? '',
      text: textIn(error, 'desc') ?? 'no reason given',
    };
  }
  const name = textIn(json, 'event');
  if (name === null) throw strange(`${quoted(line)} is neither an answer nor an event`);
  return { is: 'event', name, data: member(json, 'data'), atMs: timeIn(member(json, 'timestamp')) };
}

function timeIn(timestamp: unknown): number | null {
  const [seconds, microseconds] = [countIn(timestamp, 'seconds'), countIn(timestamp, 'microseconds')];
  return seconds === null || microseconds === null ? null : seconds * 1000 + microseconds / 1000;
}

function idOf(json: unknown): number | null {
  const id = member(json, 'id');
  return typeof id === 'number' ? id : null;
}

function hasMember(json: unknown, name: string): boolean {
  return typeof json === 'object' && json !== null && Object.hasOwn(json, name);
}

function quoted(line: string): string {
  return JSON.stringify(line.slice(0, 60));
}

function strange(why: string): VmError {
  return new VmError('ERR_VM_PROTOCOL', `what came from the monitor is no QMP: ${why}`);
}
