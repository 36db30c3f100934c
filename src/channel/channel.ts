import type { ChannelError } from './channel-error.ts';
import type { ChannelRole } from './kind.ts';
import type { Message } from './messages.ts';

/** What a side says of itself before anything else. */
export interface Greeting {
  /** Which side of the migration it is. Two sides of the same role don't talk to each other. */
  readonly role: ChannelRole;
  /** The group that moves: 32 hex digits. */
  readonly group: string;
  /** Which attempt at moving it. */
  readonly epoch: bigint;
}

/** What carries a channel. */
export type Carrier = 'memory' | 'unix' | 'tcp' | 'tls' | 'file';

/** Who is on the other end. */
export interface ChannelPeer extends Greeting {
  readonly carrier: Carrier;
  /** For people: `10.0.0.2:4711`, a path. */
  readonly address: string;
  /** The name in its verified certificate; null without TLS. */
  readonly identity: string | null;
}

/** Counts of one connection in both directions. */
export interface ConnectionStatistics {
  readonly framesSent: number;
  readonly framesReceived: number;
  /** Bytes of messages and bodies before compression. */
  readonly rawSent: number;
  readonly rawReceived: number;
  /** Bytes as they travel, headers included, without what TLS or IP adds. */
  readonly wireSent: number;
  readonly wireReceived: number;
}

/** Counts of a channel. */
export interface ChannelStatistics extends ConnectionStatistics {
  /** Bytes that are queued here because the connections do not take them yet. */
  readonly queued: number;
  readonly connections: readonly ConnectionStatistics[];
}

/** How a channel ended: orderly, everything delivered on both sides, or with an error. */
export type ChannelEnd =
  | { readonly reason: 'closed'; readonly error: null }
  | { readonly reason: 'failed'; readonly error: ChannelError };

/**
 * Gets the messages in order. `body` (empty for kinds without) is a view that is valid only during the call, or until
 * the returned promise resolves; nothing more is delivered until then. What it throws fails the channel.
 */
export type MessageHandler = (message: Message, body: Uint8Array) => void | Promise<void>;

/** An ordered, verified stream of messages in both directions between the two sides of a migration. */
export interface Channel {
  readonly peer: ChannelPeer;
  /**
   * Sends a message. The bytes of `body` may be reused when the call returns; until then only a MEMORY message's may change. Null: there is room for more at once.
   * A promise: it was taken, but wait before sending more; it resolves when there is room, and also when the channel
   * has ended (the next call then throws).
   * @throws ChannelError ERR_CHANNEL_MESSAGE for what may not be sent, ERR_CHANNEL_OVERRUN for much too much, and the
   * error that ended the channel after it has
   */
  send(message: Message, body?: Uint8Array): Promise<void> | null;
  /** Sets who gets the messages; until then they wait, against back-pressure. May be replaced. */
  receive(handler: MessageHandler): void;
  /**
   * Ends the channel in order: what was sent is delivered on the other side, which closes too. Resolves with
   * {@link closed}. Messages that arrive meanwhile are still delivered.
   */
  close(): Promise<ChannelEnd>;
  /** Ends the channel at once. The other side is told the reason as far as it can still be reached. */
  abort(reason: string): void;
  /** How it ended; never rejects. */
  readonly closed: Promise<ChannelEnd>;
  readonly statistics: ChannelStatistics;
  /** Limits what is sent to so many bytes a second on the wire, from now on; null: no limit. */
  limitRate(bytesPerSecond: number | null): void;
}
