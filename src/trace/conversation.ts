import { HeaderFlag } from '../protocol/index.ts';
import { across, type Side } from '../relay/index.ts';
import { type DecodedMessage, decodeMessage } from './decode/index.ts';
import { type StateChange, StateWatch } from './state-watch.ts';
import type { MessageEvent, TracedConnection } from './trace-event.ts';

/** A message as part of a conversation. */
export interface Told {
  readonly event: MessageEvent;
  readonly message: DecodedMessage;
  /** Counts the messages of the trace, from 1. */
  readonly number: number;
  /** In a reply: the number of its request; null when nobody asked. */
  readonly answers: number | null;
  /** In a reply: how long after its request it came, in nanoseconds. */
  readonly latency: bigint | null;
  /** In a reply: its request. */
  readonly request: DecodedMessage | null;
  /** The change of the device's migration state that it tells of. */
  readonly change: StateChange | null;
}

interface Open {
  readonly number: number;
  readonly time: bigint;
  readonly message: DecodedMessage;
}

/** Requests of one side that wait for their replies; ids are the sender's, and may be used again meanwhile. */
type Waiting = Map<number, Open[]>;

/** Unanswered requests of one side that are remembered. */
const MAX_WAITING = 64 * 1024;

/** Follows the messages of all connections of a trace: which reply belongs to which request, and what it changed. */
export class Conversation {
  #count = 0;
  readonly #connections = new Map<number, Readonly<Record<Side, Waiting>>>();
  readonly #waitingCounts = new Map<Waiting, number>();
  readonly #states = new StateWatch();

  /** Takes the next message apart and finds its place. */
  tell(event: MessageEvent): Told {
    const message = decodeMessage(event.bytes, event.fds.length);
    this.#count += 1;
    const told = { event, message, number: this.#count };
    const asked = message.kind === 'reply' || message.kind === 'error';
    const open = asked ? this.#answered(event, message) : null;
    if (message.kind === 'request') this.#remember(told);
    return {
      ...told,
      answers: open?.number ?? null,
      latency: open === null ? null : event.time - open.time,
      request: open?.message ?? null,
      change: this.#states.see(message, open?.message ?? null),
    };
  }

  /** How many requests of `side` wait for their reply. */
  waiting(connection: TracedConnection, side: Side): number {
    const waiting = this.#connections.get(connection.number)?.[side];
    return waiting === undefined ? 0 : (this.#waitingCounts.get(waiting) ?? 0);
  }

  /** The connection is over. */
  ended(connection: TracedConnection): void {
    const sides = this.#connections.get(connection.number);
    if (sides !== undefined) for (const side of Object.values(sides)) this.#waitingCounts.delete(side);
    this.#connections.delete(connection.number);
  }

  #sidesOf({ number }: TracedConnection): Readonly<Record<Side, Waiting>> {
    const known = this.#connections.get(number) ?? { client: new Map(), server: new Map() };
    this.#connections.set(number, known);
    return known;
  }

  #remember({ event, message, number }: Pick<Told, 'event' | 'message' | 'number'>): void {
    if ((message.header.flags & HeaderFlag.NO_REPLY) !== 0) return;
    const waiting = this.#sidesOf(event.connection)[event.from];
    const count = this.#waitingCounts.get(waiting) ?? 0;
    if (count >= MAX_WAITING) return;
    const { messageId } = message.header;
    const queue = waiting.get(messageId) ?? [];
    queue.push({ number, time: event.time, message });
    waiting.set(messageId, queue);
    this.#waitingCounts.set(waiting, count + 1);
  }

  /** The oldest request of the other side with the id and command of this reply. */
  #answered({ connection, from }: MessageEvent, { header }: DecodedMessage): Open | null {
    const waiting = this.#sidesOf(connection)[across(from)];
    const queue = waiting.get(header.messageId) ?? [];
    const index = queue.findIndex(({ message }) => message.header.command === header.command);
    const [open] = index < 0 ? [] : queue.splice(index, 1);
    if (open === undefined) return null;
    if (queue.length === 0) waiting.delete(header.messageId);
    this.#waitingCounts.set(waiting, (this.#waitingCounts.get(waiting) ?? 1) - 1);
    return open;
  }
}
