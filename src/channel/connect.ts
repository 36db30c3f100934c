import { randomBytes } from 'node:crypto';
import { loadNative, type Native } from '../native/index.ts';
import type { Channel } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import { type ChannelIdentity, settingsOf } from './channel-options.ts';
import type { GreetingMessage } from './control-messages.ts';
import { type Endpoint, parseEndpoint } from './endpoint.ts';
import { encodeGreeting, type ReceivedGreeting, readGreeting } from './greeting.ts';
import { bothHaveZstd, checkGreeting, greetingOf, peerOf, windowOf } from './greeting-rules.ts';
import { NO_ID } from './layout.ts';
import { MAX_CONNECTIONS } from './limits.ts';
import type { Link } from './link.ts';
import { openLink } from './open-link.ts';
import { StreamChannel } from './stream-channel.ts';
import type { TlsIdentity } from './tls-identity.ts';

/** How to connect. */
export interface ConnectOptions extends ChannelIdentity {
  /** Connections that the channel is spread over, 1 to MAX_CONNECTIONS; 1 by default. */
  readonly connections?: number;
  /** Needed for `tls:`. */
  readonly tls?: TlsIdentity;
  /** The addon; by default the one of this thread. */
  readonly native?: Native;
}

/** A link on which both sides have greeted. */
interface Greeted extends ReceivedGreeting {
  readonly link: Link;
  readonly index: number;
}

/**
 * Connects to a side that listens, over one or several connections.
 * @throws ChannelError, TransportError (UNIX)
 */
export async function connectChannel(to: Endpoint | string, options: ConnectOptions): Promise<Channel> {
  const endpoint = typeof to === 'string' ? parseEndpoint(to) : to;
  const { connections = 1 } = options;
  if (!Number.isInteger(connections) || connections < 1 || connections > MAX_CONNECTIONS) {
    throw new ChannelError('ERR_CHANNEL_ENDPOINT', `a channel has 1 to ${MAX_CONNECTIONS} connections`);
  }
  return new Caller(endpoint, options, connections).call();
}

/** Opens and greets all connections of one channel. */
class Caller {
  readonly #endpoint: Endpoint;
  readonly #options: ConnectOptions;
  readonly #connections: number;
  readonly #native: Native;
  readonly #session = randomBytes(16).toString('hex');
  readonly #links: Link[] = [];

  constructor(endpoint: Endpoint, options: ConnectOptions, connections: number) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#connections = connections;
    this.#native = options.native ?? loadNative();
  }

  async call(): Promise<Channel> {
    try {
      const first = await this.#greet(0, NO_ID);
      const { token } = first.message;
      const others = Array.from({ length: this.#connections - 1 }, (_, i) => this.#greet(i + 1, token));
      return this.#join([first, ...(await Promise.all(others))]);
    } catch (error) {
      for (const link of this.#links) link.destroy();
      throw error;
    }
  }

  async #greet(index: number, token: string): Promise<Greeted> {
    const { role } = this.#options;
    const { handshakeMs } = settingsOf(this.#options);
    const crc32 = this.#native.crc32;
    const opening = { native: this.#native, tls: this.#options.tls, timeoutMs: handshakeMs };
    const link = await openLink(this.#endpoint, opening);
    this.#links.push(link);
    const answer = readGreeting(link, {
      ...{ kind: 'WELCOME', crc32, timeoutMs: handshakeMs },
      from: role === 'sender' ? 'receiver' : 'sender',
    });
    link.write(encodeGreeting(this.#hello(index, token), role, crc32), null);
    const { message, early } = await answer;
    checkGreeting(message, role);
    const ours = message.session === this.#session && message.index === index;
    if (!ours) throw new ChannelError('ERR_CHANNEL_ORDER', 'WELCOME is for another connection');
    return { link, index, message, early };
  }

  #hello(index: number, token: string): GreetingMessage {
    return greetingOf(this.#options, {
      ...{ kind: 'HELLO', index, connections: this.#connections, session: this.#session, token },
      window: this.#window,
    });
  }

  get #window(): number {
    return windowOf(settingsOf(this.#options).windowBytes, this.#connections);
  }

  #join(greeted: readonly [Greeted, ...Greeted[]]): Channel {
    const [first] = greeted;
    const { identity, fingerprint } = first.link.peer;
    if (greeted.some(({ link }) => link.peer.fingerprint !== fingerprint)) {
      throw new ChannelError(
        'ERR_CHANNEL_TLS',
        `another side than ${identity} answered one of the connections`,
      );
    }
    return new StreamChannel({
      ...settingsOf(this.#options),
      crc32: this.#native.crc32,
      crc32Copy: this.#native.crc32Copy,
      role: this.#options.role,
      peer: peerOf(first.link.peer, first.message),
      session: this.#session,
      window: this.#window,
      zstd: greeted.every(({ message }) => bothHaveZstd(message)),
      links: greeted.map(({ link, index, message, early }) => ({
        link,
        index,
        early,
        window: message.window,
      })),
    });
  }
}
