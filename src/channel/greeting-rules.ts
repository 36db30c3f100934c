import type { ChannelPeer, Greeting } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import { zstdIfThere } from './compression.ts';
import { ChannelFeature, type GreetingMessage, RoleNumber } from './control-messages.ts';
import { FRAME_HEADER_SIZE } from './frame.ts';
import type { ChannelRole } from './kind.ts';
import { NO_ID } from './layout.ts';
import { CHANNEL_VERSION, MAX_CONNECTIONS, MAX_PAYLOAD } from './limits.ts';
import type { LinkPeer } from './link.ts';

/** The smallest window: two of the largest frames, so that one can be on the way while another is handled. */
export const MIN_WINDOW: number = 2 * (FRAME_HEADER_SIZE + MAX_PAYLOAD);

/** What this side can do. */
export const OUR_FEATURES: number = zstdIfThere === null ? 0 : ChannelFeature.ZSTD;

/** The part of all windows that one of so many connections gets. */
export function windowOf(windowBytes: number, connections: number): number {
  return Math.min(Math.max(MIN_WINDOW, Math.floor(windowBytes / connections)), 0xffff_ffff);
}

/** What a side says on one connection. */
export interface GreetingDetails {
  readonly kind: GreetingMessage['kind'];
  readonly index: number;
  readonly connections: number;
  readonly window: number;
  readonly session: string;
  readonly token: string;
}

/** The message that greets with these details. */
export function greetingOf({ role, group, epoch }: Greeting, details: GreetingDetails): GreetingMessage {
  return {
    ...details,
    version: CHANNEL_VERSION,
    role: RoleNumber[role],
    features: OUR_FEATURES,
    group,
    epoch,
  };
}

/**
 * Checks what a greeting says by itself.
 * @param role who we are
 * @throws ChannelError ERR_CHANNEL_VERSION, ERR_CHANNEL_REFUSED, ERR_CHANNEL_MALFORMED
 */
export function checkGreeting(message: GreetingMessage, role: ChannelRole): void {
  const { version, index, connections, window, session } = message;
  if (version !== CHANNEL_VERSION) {
    const why = `the other side has version ${version} of the channel, this one ${CHANNEL_VERSION}: update the older`;
    throw new ChannelError('ERR_CHANNEL_VERSION', why);
  }
  const other = role === 'sender' ? 'receiver' : 'sender';
  if (message.role !== RoleNumber[other]) {
    throw new ChannelError(
      'ERR_CHANNEL_REFUSED',
      `the other side is no ${other}: both are the same end of a migration`,
    );
  }
  const sound =
    connections >= 1 &&
    connections <= MAX_CONNECTIONS &&
    index < connections &&
    window >= MIN_WINDOW &&
    session !== NO_ID;
  if (!sound) throw new ChannelError('ERR_CHANNEL_MALFORMED', `${message.kind} contradicts itself`);
}

/** Who is on the other end of a channel. */
export function peerOf({ carrier, address, identity }: LinkPeer, message: GreetingMessage): ChannelPeer {
  const role = message.role === RoleNumber.sender ? 'sender' : 'receiver';
  return { role, group: message.group, epoch: message.epoch, carrier, address, identity };
}

/** Whether both sides have zstd. */
export function bothHaveZstd({ features }: GreetingMessage): boolean {
  return (features & OUR_FEATURES & ChannelFeature.ZSTD) !== 0;
}
