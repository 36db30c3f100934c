import { ChannelError, messageOf } from './channel-error.ts';
import type { LinkPeer } from './link.ts';

/** A connection that ended before the stream did. */
export function connectionCut(peer: LinkPeer, midFrame: boolean, cause: Error | null): ChannelError {
  const where = midFrame ? ', in the middle of a frame' : '';
  const why = cause === null ? '' : `: ${messageOf(cause)}`;
  const message = `the connection to ${peer.address} was cut${where}${why}`;
  return new ChannelError('ERR_CHANNEL_CUT', message, { context: { address: peer.address }, cause });
}

/** An acknowledgement of what was never sent, or a second one of the same. */
export function impossibleCredit(bytes: number): ChannelError {
  return new ChannelError('ERR_CHANNEL_MALFORMED', `CREDIT acknowledges ${bytes} bytes, which can't be`);
}

/** Whatever went wrong, as an error of the channel. */
export function asChannelError(error: unknown): ChannelError {
  if (error instanceof ChannelError) return error;
  return new ChannelError('ERR_CHANNEL_MALFORMED', messageOf(error), { cause: error });
}
