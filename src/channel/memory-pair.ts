import { copyOf, plain } from './bytes.ts';
import type { Channel, ChannelEnd, ChannelPeer, ChannelStatistics, MessageHandler } from './channel.ts';
import { ChannelError, messageOf } from './channel-error.ts';
import { Delivery } from './delivery.ts';
import { Ending } from './ending.ts';
import { Gate } from './gate.ts';
import type { ChannelRole } from './kind.ts';
import { MAX_FIXED, MAX_QUEUED } from './limits.ts';
import { messageCodec } from './message-codec.ts';
import { type Message, messages } from './messages.ts';
import { RateLimiter } from './rate-limiter.ts';

/** Two channels that are joined within this process. */
export interface MemoryPair {
  readonly sender: Channel;
  readonly receiver: Channel;
  /** Both fail as if the connection between them had been cut. */
  cut(): void;
}

/** What a pair is for. */
export interface MemoryPairOptions {
  /** The group that moves: 32 hex digits. */
  readonly group: string;
  readonly epoch: bigint;
}

/**
 * Joins the two sides of a migration within one process. A message with a body is delivered inside the `send` that
 * sends it when nothing is waiting, with the very view that was given; everything else soon after, in order. What may be
 * sent, back-pressure and endings are as on any other channel.
 */
export function memoryPair({ group, epoch }: MemoryPairOptions): MemoryPair {
  const about = { group, epoch, carrier: 'memory', address: 'this process', identity: null } as const;
  const sender = new MemoryEnd('sender', { ...about, role: 'receiver' });
  const receiver = new MemoryEnd('receiver', { ...about, role: 'sender' });
  sender.join(receiver);
  receiver.join(sender);
  const cut = (): void => {
    const error = new ChannelError('ERR_CHANNEL_CUT', 'the connection was cut');
    sender.fail(error);
    receiver.fail(error);
  };
  return { sender, receiver, cut };
}

/** What waits for the handler: a message, or the end of the stream. */
type Waiting = { readonly message: Message; readonly body: Uint8Array } | 'end';

const NOTHING = new Uint8Array(0);

class MemoryEnd implements Channel {
  readonly peer: ChannelPeer;
  readonly #role: ChannelRole;
  readonly #ending = new Ending();
  readonly #delivery: Delivery;
  readonly #scratch = new Uint8Array(MAX_FIXED);
  readonly #limiter = new RateLimiter();
  readonly #counts = { framesSent: 0, framesReceived: 0, rawSent: 0, rawReceived: 0 };
  /** Where senders wait until this end is free again. */
  readonly #room = new Gate();
  /** Where senders wait who have been faster than the limit of the rate. */
  readonly #paused = new Gate();
  #pause: NodeJS.Timeout | null = null;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #scheduled = false;
  #closing = false;
  #sending = false;
  #other: MemoryEnd = this;

  constructor(role: ChannelRole, peer: ChannelPeer) {
    this.#role = role;
    this.peer = peer;
    this.#delivery = new Delivery({
      ready: () => this.#drain(),
      failed: (error) => this.#handlerFailed(error),
    });
  }

  join(other: MemoryEnd): void {
    this.#other = other;
  }

  send(message: Message, body: Uint8Array = NOTHING): Promise<void> | null {
    this.#requireOpen();
    const head = messageCodec.encode(message, body.length, this.#role, this.#scratch);
    const { number, tail } = messages[message.kind];
    // Whatever is not flat is taken apart from the sender's objects, as on the wire.
    const own = tail.tail === 'body' ? message : messageCodec.decode(number, head, this.#role).message;
    this.#counts.framesSent += 1;
    this.#counts.rawSent += head.length + body.length;
    this.#limiter.spend(head.length + body.length);
    this.#sending = true;
    try {
      this.#other.#accept(own, body, head.length);
    } finally {
      this.#sending = false;
    }
    return this.#backPressure();
  }

  receive(handler: MessageHandler): void {
    this.#delivery.set(handler);
  }

  close(): Promise<ChannelEnd> {
    if (this.#ending.end === null && !this.#closing) {
      this.#closing = true;
      this.#other.#wait('end');
    }
    return this.closed;
  }

  abort(reason: string): void {
    this.fail(new ChannelError('ERR_CHANNEL_ABORTED', `given up: ${reason}`));
    const told = new ChannelError('ERR_CHANNEL_ABORTED', `the other side has given up: ${reason}`);
    queueMicrotask(() => this.#other.fail(told));
  }

  get closed(): Promise<ChannelEnd> {
    return this.#ending.promise;
  }

  get statistics(): ChannelStatistics {
    const { rawSent: wireSent, rawReceived: wireReceived } = this.#counts;
    const connection = { ...this.#counts, wireSent, wireReceived };
    return { ...connection, queued: this.#other.#waitingBytes, connections: [connection] };
  }

  limitRate(bytesPerSecond: number | null): void {
    this.#limiter.set(bytesPerSecond);
  }

  /** Ends this side; null: in order. */
  fail(error: ChannelError | null): void {
    if (!this.#ending.settle(error)) return;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#endPause();
    this.#room.open();
    this.#other.#room.open();
  }

  #accept(message: Message, body: Uint8Array, headLength: number): void {
    if (this.#ending.end !== null) return;
    this.#counts.framesReceived += 1;
    this.#counts.rawReceived += headLength + body.length;
    // Inside a send of our own the handler would be called by what it called.
    const direct = body.length > 0 && this.#waiting.length === 0 && this.#delivery.ready && !this.#sending;
    if (direct) return this.#delivery.deliver(message, plain(body));
    if (this.#waitingBytes + body.length > MAX_QUEUED) {
      throw new ChannelError('ERR_CHANNEL_OVERRUN', 'too much was sent without waiting for room');
    }
    this.#wait({ message, body: copyOf(body) });
  }

  #wait(next: Waiting): void {
    this.#waiting.push(next);
    if (next !== 'end') this.#waitingBytes += next.body.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#drain();
    });
  }

  #drain(): void {
    while (this.#ending.end === null && !this.#delivery.busy) {
      const [next] = this.#waiting;
      if (next === 'end') return this.#ended();
      if (next === undefined || !this.#delivery.ready) break;
      this.#waiting.shift();
      this.#waitingBytes -= next.body.length;
      this.#delivery.deliver(next.message, next.body);
    }
    if (!this.#full) this.#room.open();
  }

  get #full(): boolean {
    return this.#delivery.busy || this.#waitingBytes > 0;
  }

  /** The other side has closed and everything before that is delivered. */
  #ended(): void {
    if (!this.#closing) this.#other.#wait('end');
    this.fail(null);
  }

  #backPressure(): Promise<void> | null {
    const other = this.#other;
    const pause = this.#limiter.wait();
    const room = other.#ending.end === null && other.#full ? other.#room.wait() : null;
    if (pause === 0) return room;
    this.#pause ??= setTimeout(() => this.#endPause(), pause);
    const paused = this.#paused.wait();
    return room === null ? paused : paused.then(() => room);
  }

  #endPause(): void {
    clearTimeout(this.#pause ?? undefined);
    this.#pause = null;
    this.#paused.open();
  }

  #handlerFailed(cause: unknown): void {
    const text = `what received the messages has failed: ${messageOf(cause)}`;
    this.fail(new ChannelError('ERR_CHANNEL_HANDLER', text, { cause }));
    const told = new ChannelError('ERR_CHANNEL_ABORTED', `the other side has given up: ${messageOf(cause)}`);
    queueMicrotask(() => this.#other.fail(told));
  }

  #requireOpen(): void {
    const { end } = this.#ending;
    if (end === null && !this.#closing) return;
    throw end?.error ?? new ChannelError('ERR_CHANNEL_CLOSED', 'the channel is closed');
  }
}
