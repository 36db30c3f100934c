import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Native } from '../native/index.ts';
import type { Channel } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import { type ChannelIdentity, settingsOf } from './channel-options.ts';
import type { GreetingMessage } from './control-messages.ts';
import { asChannelError } from './failures.ts';
import { encodeGreeting, type ReceivedGreeting, readGreeting } from './greeting.ts';
import { bothHaveZstd, checkGreeting, greetingOf, peerOf, windowOf } from './greeting-rules.ts';
import { NO_ID } from './layout.ts';
import type { Link } from './link.ts';
import { type GreetedLink, StreamChannel } from './stream-channel.ts';

/** How connections are admitted. */
export interface AdmissionOptions extends ChannelIdentity {
  readonly native: Native;
  /** Connections that have not become part of a channel yet, at most. */
  readonly maxWaiting: number;
  /** Channels at the same time, at most. */
  readonly maxChannels: number;
  readonly accepted: (channel: Channel) => void;
  readonly refused: (error: ChannelError) => void;
}

/** A channel of which some connections are still to come. */
interface Gathering {
  readonly first: GreetingMessage;
  readonly token: string;
  readonly links: Map<number, GreetedLink>;
  /** Whether all sides of it have zstd. */
  zstd: boolean;
  readonly timer: NodeJS.Timeout;
}

/** Lets connections in, one greeting each, and joins those that belong together. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #waiting = new Set<Link>();
  readonly #gathering = new Map<string, Gathering>();
  #channels = 0;
  #closed = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** A connection has been made. */
  admit(link: Link): void {
    if (this.#closed || this.#waiting.size >= this.#options.maxWaiting) return link.destroy();
    this.#waiting.add(link);
    const { role, native } = this.#options;
    const greeting = readGreeting(link, {
      kind: 'HELLO',
      from: role === 'sender' ? 'receiver' : 'sender',
      crc32: native.crc32,
      timeoutMs: settingsOf(this.#options).handshakeMs,
    });
    greeting.then((received) => this.#greeted(link, received)).catch((error) => this.#refuse(link, error));
  }

  /** Lets nobody in any more. Channels that exist stay. */
  close(): void {
    this.#closed = true;
    for (const session of this.#gathering.keys()) this.#drop(session);
    for (const link of this.#waiting) link.destroy();
    this.#waiting.clear();
  }

  #greeted(link: Link, { message, early }: ReceivedGreeting): void {
    if (this.#closed) return;
    checkGreeting(message, this.#options.role);
    const session = message.index === 0 ? this.#begin(message) : this.#find(link, message);
    session.zstd &&= bothHaveZstd(message);
    session.links.set(message.index, { link, index: message.index, window: message.window, early });
    this.#welcome(link, message, message.index === 0 ? session.token : NO_ID);
    if (session.links.size === message.connections) this.#join(session);
  }

  #begin(message: GreetingMessage): Gathering {
    const { session } = message;
    if (this.#gathering.has(session)) throw refusal('this session exists already');
    if (this.#channels + this.#gathering.size >= this.#options.maxChannels) {
      throw refusal('it has as many channels as it takes; try again later');
    }
    const { handshakeMs } = settingsOf(this.#options);
    const timer = setTimeout(() => this.#drop(session), handshakeMs);
    const token = randomBytes(16).toString('hex');
    const gathering = { first: message, token, links: new Map<number, GreetedLink>(), zstd: true, timer };
    this.#gathering.set(session, gathering);
    return gathering;
  }

  /** The session that a further connection belongs to: it must know the secret and be of the same identity. */
  #find(link: Link, message: GreetingMessage): Gathering {
    const gathering = this.#gathering.get(message.session);
    const first = gathering?.links.get(0);
    const belongs =
      gathering !== undefined &&
      timingSafeEqual(Buffer.from(gathering.token), Buffer.from(message.token)) &&
      first?.link.peer.fingerprint === link.peer.fingerprint &&
      gathering.first.connections === message.connections &&
      !gathering.links.has(message.index);
    if (!belongs) throw refusal('it belongs to no session here');
    return gathering;
  }

  /** A receiver learns from the sender which migration it is. */
  #welcome(link: Link, hello: GreetingMessage, token: string): void {
    const { index, connections, session, group, epoch } = hello;
    const { role } = this.#options;
    const window = this.#window(connections);
    const about = role === 'receiver' ? { role, group, epoch } : this.#options;
    const message = greetingOf(about, {
      kind: 'WELCOME',
      index,
      connections,
      window,
      session,
      token,
    });
    link.write(encodeGreeting(message, this.#options.role, this.#options.native.crc32), null);
  }

  #window(connections: number): number {
    return windowOf(settingsOf(this.#options).windowBytes, connections);
  }

  #join(gathering: Gathering): void {
    const { first, links, zstd, timer } = gathering;
    clearTimeout(timer);
    this.#gathering.delete(first.session);
    const inOrder = [...links.values()].sort((a, b) => a.index - b.index);
    for (const { link } of inOrder) this.#waiting.delete(link);
    const [opening] = inOrder;
    if (opening === undefined) return;
    const { role, native, accepted } = this.#options;
    const channel = new StreamChannel({
      ...settingsOf(this.#options),
      ...{
        crc32: native.crc32,
        crc32Copy: native.crc32Copy,
        role,
        zstd,
        links: inOrder,
        session: first.session,
      },
      window: this.#window(first.connections),
      peer: peerOf(opening.link.peer, first),
    });
    this.#channels += 1;
    void channel.closed.then(() => {
      this.#channels -= 1;
    });
    accepted(channel);
  }

  /** Tells a connection why it is not let in; nobody else notices. */
  #refuse(link: Link, error: unknown): void {
    if (!this.#waiting.delete(link)) return;
    const problem = asChannelError(error);
    const { role, native } = this.#options;
    const gone = problem.code === 'ERR_CHANNEL_CUT';
    if (!gone)
      link.write(encodeGreeting({ kind: 'FAILURE', text: problem.message }, role, native.crc32), null);
    link.end();
    this.#options.refused(problem);
  }

  /** Gives up a session that is not complete. */
  #drop(session: string): void {
    const gathering = this.#gathering.get(session);
    if (gathering === undefined) return;
    clearTimeout(gathering.timer);
    this.#gathering.delete(session);
    for (const { link } of gathering.links.values()) this.#refuse(link, lateSession());
  }
}

function refusal(text: string): ChannelError {
  return new ChannelError('ERR_CHANNEL_REFUSED', text);
}

function lateSession(): ChannelError {
  return new ChannelError('ERR_CHANNEL_TIMEOUT', 'not all connections of the channel came in time');
}
