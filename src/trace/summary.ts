import type { Side } from '../relay/index.ts';
import type { Told } from './conversation.ts';
import { Histogram } from './histogram.ts';
import type { TraceEvent } from './trace-event.ts';

/** What is known of all messages with one command. */
export interface CommandFigures {
  readonly name: string;
  readonly requests: number;
  readonly errors: number;
  /** Bytes of requests and replies, headers included. */
  readonly bytes: number;
  /** Latencies of the replies, in nanoseconds; null without any. */
  readonly p50: bigint | null;
  readonly p99: bigint | null;
  readonly max: bigint | null;
}

/** A reply that took long. */
export interface SlowReply {
  readonly number: number;
  readonly connection: number;
  readonly name: string;
  readonly latency: bigint;
}

/** Figures of a trace. */
export interface Figures {
  readonly messages: number;
  readonly bytes: Readonly<Record<Side, number>>;
  readonly fds: number;
  readonly errors: number;
  /** Messages that broke a rule of their declaration. */
  readonly problems: number;
  /** Bytes that were no message. */
  readonly strayBytes: number;
  readonly connections: { readonly opened: number; readonly open: number };
  /** From the first event to the last, in nanoseconds. */
  readonly duration: bigint;
  /** Most requests first. */
  readonly commands: readonly CommandFigures[];
  /** Slowest first. */
  readonly slowest: readonly SlowReply[];
  /** How often each errno came, most often first. */
  readonly errnos: readonly (readonly [name: string, count: number])[];
}

interface Command {
  requests: number;
  errors: number;
  bytes: number;
  readonly latencies: Histogram;
}

/** Slow replies that are remembered. */
const SLOWEST = 5;

/** Counts what passes; what it keeps does not grow with it. */
export class TraceSummary {
  #messages = 0;
  readonly #bytes = { client: 0, server: 0 };
  #fds = 0;
  #errors = 0;
  #problems = 0;
  #strayBytes = 0;
  #opened = 0;
  /** Ends that are still open, by connection. */
  readonly #open = new Map<number, number>();
  #first: bigint | null = null;
  #last = 0n;
  readonly #commands = new Map<string, Command>();
  #slowest: SlowReply[] = [];
  readonly #errnos = new Map<string, number>();

  /** Takes an event; for a message {@link tell} as well. */
  see(event: TraceEvent): void {
    this.#first ??= event.time;
    if (event.time > this.#last) this.#last = event.time;
    const { number } = event.connection;
    if (event.kind === 'opened') {
      this.#opened += 1;
      this.#open.set(number, 2);
    } else if (event.kind === 'ended') {
      const left = (this.#open.get(number) ?? 1) - 1;
      if (left > 0) this.#open.set(number, left);
      else this.#open.delete(number);
    } else {
      this.#bytes[event.from] += event.wireSize;
      this.#fds += event.fds.length;
      if (event.kind === 'bytes') this.#strayBytes += event.wireSize;
    }
  }

  /** Takes a message in its place of the conversation. */
  tell({ event, message, latency, number }: Told): void {
    this.#messages += 1;
    if (message.problems.length > 0) this.#problems += 1;
    const command = this.#command(message.name);
    command.bytes += event.wireSize;
    if (message.kind === 'request') command.requests += 1;
    if (message.kind === 'error') {
      this.#errors += 1;
      command.errors += 1;
      this.#errnos.set(message.errno, (this.#errnos.get(message.errno) ?? 0) + 1);
    }
    if (latency === null) return;
    command.latencies.add(latency);
    this.#slow({ number, connection: event.connection.number, name: message.name, latency });
  }

  /** The figures so far. */
  figures(): Figures {
    const commands = [...this.#commands].map(([name, one]) => figuresOf(name, one));
    return {
      messages: this.#messages,
      bytes: { ...this.#bytes },
      fds: this.#fds,
      errors: this.#errors,
      problems: this.#problems,
      strayBytes: this.#strayBytes,
      connections: { opened: this.#opened, open: this.#open.size },
      duration: this.#first === null ? 0n : this.#last - this.#first,
      commands: commands.sort((a, b) => b.requests - a.requests),
      slowest: this.#slowest,
      errnos: [...this.#errnos].sort(([, a], [, b]) => b - a),
    };
  }

  #command(name: string): Command {
    const known = this.#commands.get(name);
    if (known !== undefined) return known;
    // A peer can send 2^16 commands that do not exist.
    const full = this.#commands.size >= MAX_COMMANDS && name !== OTHERS;
    if (full) return this.#command(OTHERS);
    const fresh: Command = { requests: 0, errors: 0, bytes: 0, latencies: new Histogram() };
    this.#commands.set(name, fresh);
    return fresh;
  }

  #slow(reply: SlowReply): void {
    const last = this.#slowest.at(-1);
    if (this.#slowest.length === SLOWEST && last !== undefined && last.latency >= reply.latency) return;
    this.#slowest = [...this.#slowest, reply]
      .sort((a, b) => (a.latency < b.latency ? 1 : -1))
      .slice(0, SLOWEST);
  }
}

/** Names of commands that are told apart. */
const MAX_COMMANDS = 64;
const OTHERS = 'others';

function figuresOf(name: string, { requests, errors, bytes, latencies }: Command): CommandFigures {
  const any = latencies.count > 0;
  return {
    ...{ name, requests, errors, bytes },
    p50: any ? latencies.percentile(0.5) : null,
    p99: any ? latencies.percentile(0.99) : null,
    max: any ? latencies.max : null,
  };
}
