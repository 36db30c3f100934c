import { flags } from '../protocol/index.ts';
import { codecOf, type ValueOfTable } from './codec.ts';
import { type KindDeclaration, kind, text } from './kind.ts';
import { id, u8, u16, u32, u64 } from './layout.ts';
import { MAX_FAILURE_TEXT } from './limits.ts';

/** What a side can do beyond the basic format. It is used when both can. */
export const ChannelFeature = flags({ ZSTD: 1 }, { ZSTD: 'frames compressed by zstd' });

/** The number of a role in HELLO and WELCOME. */
export const RoleNumber = { sender: 1, receiver: 2 } as const;

const greeting = {
  version: u16('version of the format; the layout of this message is the same in all'),
  role: u8('who speaks: 1 the sender of the state, 2 its receiver'),
  index: u8('number of this connection, from 0'),
  connections: u8('connections of the channel'),
  // What a newer side has besides is not used, and no reason to refuse it.
  features: { ...u32('what the speaker can do; unknown bits are ignored'), flags: ChannelFeature },
  window: u32('bytes of frames that the other side may have on the way on this connection'),
  session: id('of the channel, random'),
  token: id('the secret of the session: zero in the HELLO of connection 0 and in all but the first WELCOME'),
  group: id('the group that moves'),
  epoch: u64('which attempt at moving it'),
};

/**
 * The channel's own messages, which it does not deliver. HELLO comes first on every connection, from whoever made it,
 * and WELCOME answers it. CREDIT, ALIVE and FAILURE belong to their connection and have no place in the order of
 * messages; BYE has.
 */
export const controlMessages = {
  HELLO: kind(1, 'both', 'The first frame of a connection, or of a file.', greeting),
  WELCOME: kind(2, 'both', 'The answer to HELLO.', greeting),
  CREDIT: kind(3, 'both', 'How much of what came on this connection has been handled.', {
    bytes: u64('bytes of the frames of messages, headers included, since the beginning'),
  }),
  ALIVE: kind(4, 'both', 'Sent when there was nothing else to send for a while.', {}),
  BYE: kind(5, 'both', 'The end of the stream in this direction.', {
    messages: u64('messages that were sent before'),
    bytes: u64('bytes of their payloads before compression'),
  }),
  FAILURE: kind(6, 'both', 'The speaker gives up.', {}, text('text', 'why, for people', MAX_FAILURE_TEXT)),
} as const satisfies Readonly<Record<string, KindDeclaration>>;

/** Any of the channel's own messages. */
export type ControlMessage = ValueOfTable<typeof controlMessages>;

/** HELLO or WELCOME. */
export type GreetingMessage = Extract<ControlMessage, { kind: 'HELLO' | 'WELCOME' }>;

/** Encoder, decoder and printer of {@link controlMessages}. */
export const controlCodec = codecOf(controlMessages);

/** Whether a kind is one of the channel's own. */
export function isControl(number: number): boolean {
  return number < 16;
}

/** Whether a kind has a place in the order of messages, and takes part in the window. */
export function isOrdered(number: number): boolean {
  return !isControl(number) || number === controlMessages.BYE.number;
}
