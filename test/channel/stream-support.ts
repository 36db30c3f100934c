import { crc32 } from 'node:zlib';
import { settingsOf } from '../../src/channel/channel-options.ts';
import type { ChannelEnd, CompressionMode, Message } from '../../src/channel/index.ts';
import { StreamChannel } from '../../src/channel/stream-channel.ts';
import { FakeLink } from './fake-link.ts';
import { epoch, group } from './samples.ts';

export const session = 'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf';
/** Small: most tests make many channels. */
export const WINDOW = 2100 * 1024;

export interface SideOptions {
  readonly links?: number;
  readonly window?: number;
  readonly compression?: CompressionMode;
  readonly silenceMs?: number;
  readonly closeMs?: number;
  readonly session?: string;
}

/** A channel over fake links whose greeting is over. */
export interface Side {
  readonly channel: StreamChannel;
  readonly links: readonly FakeLink[];
  /** The first link. */
  readonly link: FakeLink;
}

export function side(role: 'sender' | 'receiver', options: SideOptions = {}): Side {
  const { links: count = 1, window = WINDOW } = options;
  const links = Array.from({ length: count }, () => new FakeLink());
  const other = role === 'sender' ? 'receiver' : 'sender';
  const { compression = 'off', silenceMs = 60_000, closeMs = 60_000 } = options;
  const channel = new StreamChannel({
    ...settingsOf({ compression, silenceMs, closeMs }),
    ...{ crc32, role, session: options.session ?? session, window, zstd: false },
    peer: { role: other, group, epoch, carrier: 'tcp', address: 'test', identity: null },
    links: links.map((link, index) => ({ link, index, window, early: new Uint8Array() })),
  });
  const [link] = links;
  if (link === undefined) throw new Error('a side has a link');
  return { channel, links, link };
}

/** What a receiver got: the messages with copies of their bodies. */
export interface Got {
  readonly message: Message;
  readonly body: Uint8Array;
}

/** Records what is delivered. */
export function collect(channel: StreamChannel): Got[] {
  const got: Got[] = [];
  channel.receive((message, body) => {
    got.push({ message, body: body.slice() });
  });
  return got;
}

/** How a channel ended, or null when it has not after a few turns. */
export async function endOf(channel: StreamChannel): Promise<ChannelEnd | null> {
  for (let turns = 0; turns < 5; turns += 1) await turn();
  return Promise.race([channel.closed, Promise.resolve(null)]);
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The bytes of a stream of these messages and its end, as a sender writes them. */
export function recorded(
  items: readonly { readonly message: Message; readonly body?: Uint8Array }[],
): Uint8Array {
  const { channel, link } = side('sender');
  for (const { message, body } of items) channel.send(message, body);
  void channel.close();
  const { bytes } = link;
  channel.abort('recorded');
  return bytes;
}
