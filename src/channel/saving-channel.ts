import { randomBytes } from 'node:crypto';
import { loadNative, type Native } from '../native/index.ts';
import type { Channel, ChannelEnd, ChannelPeer, ChannelStatistics } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import { type ChannelIdentity, settingsOf } from './channel-options.ts';
import { chooseCompression } from './compression.ts';
import { Connection } from './connection.ts';
import { controlCodec, controlMessages, RoleNumber } from './control-messages.ts';
import { Dispatch, MANNERS } from './dispatch.ts';
import { Ending } from './ending.ts';
import { asChannelError } from './failures.ts';
import type { Sink } from './file-sink.ts';
import { seedOf } from './frame.ts';
import { encodeGreeting } from './greeting.ts';
import { greetingOf, MIN_WINDOW } from './greeting-rules.ts';
import { NO_ID } from './layout.ts';
import { MAX_FIXED } from './limits.ts';
import { messageCodec } from './message-codec.ts';
import { type Message, messages } from './messages.ts';
import { SinkLink } from './sink-link.ts';

const NOTHING = new Uint8Array(0);

/** How to save. */
export interface SavingOptions extends Omit<ChannelIdentity, 'role'> {
  readonly native?: Native;
}

/**
 * A channel into a sink: what a sender sends is written down in the very form in which it would travel. Nobody answers.
 * `close` makes it last; `abort` and every failure leave nothing behind.
 */
export function saveTo(sink: Sink, options: SavingOptions): Channel {
  return new SavingChannel(sink, options);
}

class SavingChannel implements Channel {
  readonly peer: ChannelPeer;
  readonly #sink: Sink;
  readonly #link: SinkLink;
  readonly #connection: Connection;
  readonly #dispatch: Dispatch;
  readonly #ending = new Ending();
  readonly #scratch = new Uint8Array(MAX_FIXED);
  #taken = 0;
  #takenBytes = 0;
  #closing = false;
  #finishing = false;

  constructor(sink: Sink, options: SavingOptions) {
    const { crc32, crc32Copy } = options.native ?? loadNative();
    const { group, epoch } = options;
    const session = randomBytes(16).toString('hex');
    this.peer = { role: 'receiver', group, epoch, carrier: 'file', address: sink.name, identity: null };
    this.#sink = sink;
    this.#link = new SinkLink(sink);
    this.#connection = new Connection(this.#link, {
      ...{ crc32, crc32Copy, role: 'sender', window: MIN_WINDOW },
      events: {
        control: () => {},
        arrived: () => {},
        writable: () => this.#dispatch.drain(),
        failed: (error) => this.#fail(causeOf(error)),
      },
    });
    this.#dispatch = new Dispatch({
      connections: [this.#connection],
      mode: settingsOf(options).compression,
      // Whoever reads it may have an older Node.
      compression: chooseCompression(false),
      drained: () => this.#finish(),
    });
    const details = {
      kind: 'HELLO',
      index: 0,
      connections: 1,
      window: MIN_WINDOW,
      session,
      token: NO_ID,
    } as const;
    const hello = greetingOf({ role: 'sender', group, epoch }, details);
    this.#link.write(encodeGreeting(hello, 'sender', crc32), null);
    const seed = seedOf(crc32, session, 0, RoleNumber.sender);
    this.#connection.greeted({ sent: seed, received: 0 }, Number.POSITIVE_INFINITY);
    this.#connection.start();
  }

  send(message: Message, body: Uint8Array = NOTHING): Promise<void> | null {
    const { end } = this.#ending;
    if (end !== null || this.#closing) {
      throw end?.error ?? new ChannelError('ERR_CHANNEL_CLOSED', 'the channel is closed');
    }
    const head = messageCodec.encode(message, body.length, 'sender', this.#scratch);
    const { number, tail } = messages[message.kind];
    const manner = tail.tail === 'body' && tail.live ? MANNERS.live : MANNERS.still;
    this.#dispatch.send(number, head, body.length === 0 ? null : body, manner);
    this.#taken += 1;
    this.#takenBytes += head.length + body.length;
    return this.#dispatch.pressure();
  }

  /** Nothing ever comes. */
  receive(): void {}

  close(): Promise<ChannelEnd> {
    if (this.#ending.end !== null || this.#closing) return this.closed;
    this.#closing = true;
    const bye = { kind: 'BYE', messages: BigInt(this.#taken), bytes: BigInt(this.#takenBytes) } as const;
    const head = controlCodec.encode(bye, 0, 'sender', this.#scratch);
    this.#dispatch.send(controlMessages.BYE.number, head, null, MANNERS.control);
    this.#finish();
    return this.closed;
  }

  abort(reason: string): void {
    this.#fail(new ChannelError('ERR_CHANNEL_ABORTED', `given up: ${reason}`));
  }

  get closed(): Promise<ChannelEnd> {
    return this.#ending.promise;
  }

  get statistics(): ChannelStatistics {
    const one = this.#connection.statistics;
    return { ...one, queued: this.#dispatch.queued, connections: [one] };
  }

  limitRate(bytesPerSecond: number | null): void {
    this.#dispatch.limitRate(bytesPerSecond);
  }

  #finish(): void {
    if (!this.#closing || this.#finishing || this.#dispatch.queued > 0) return;
    this.#finishing = true;
    this.#link
      .flushed()
      .then(() => (this.#ending.end === null ? this.#sink.finish() : undefined))
      .then(() => this.#ending.settle(null))
      .catch((error) => this.#fail(asChannelError(error)));
  }

  #fail(error: ChannelError): void {
    if (this.#ending.end !== null) return;
    this.#dispatch.stop();
    this.#link.destroy();
    // The draft is gone before anybody knows of the end.
    void this.#link
      .flushed()
      .then(() => this.#sink.discard())
      .catch(() => {})
      .then(() => this.#ending.settle(error));
  }
}

/** The connection calls every failure a cut; here it is what the sink said. */
function causeOf(error: unknown): ChannelError {
  const { cause } = asChannelError(error);
  return cause instanceof ChannelError ? cause : asChannelError(error);
}
