import type { Greeting } from './channel.ts';
import type { CompressionMode } from './compression-policy.ts';

/** How a channel behaves; each side has its own. */
export interface ChannelTuning {
  /** `auto` by default. */
  readonly compression?: CompressionMode;
  /** After so long without a sign of life the channel fails, in milliseconds; 10,000 by default. */
  readonly silenceMs?: number;
  /** How long connecting and greeting may take, in milliseconds; 10,000 by default. */
  readonly handshakeMs?: number;
  /** How long the other side may take to answer the end of the stream, in milliseconds; 60,000 by default. */
  readonly closeMs?: number;
  /** How much the other side may have on the way to us over all connections, in bytes; 8 MiB by default. */
  readonly windowBytes?: number;
}

/** {@link ChannelTuning} with everything said. */
export type ChannelSettings = Required<ChannelTuning>;

/** Fills in what was not said. */
export function settingsOf(tuning: ChannelTuning): ChannelSettings {
  return {
    compression: tuning.compression ?? 'auto',
    silenceMs: tuning.silenceMs ?? 10_000,
    handshakeMs: tuning.handshakeMs ?? 10_000,
    closeMs: tuning.closeMs ?? 60_000,
    windowBytes: tuning.windowBytes ?? 8 * 1024 * 1024,
  };
}

/** What a side says of itself, and how its channel behaves. */
export interface ChannelIdentity extends ChannelTuning, Greeting {}
