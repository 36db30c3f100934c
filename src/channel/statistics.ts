import type { ChannelStatistics, ConnectionStatistics } from './channel.ts';

const NONE: ConnectionStatistics = {
  framesSent: 0,
  framesReceived: 0,
  rawSent: 0,
  rawReceived: 0,
  wireSent: 0,
  wireReceived: 0,
};

/** The counts of a channel from those of its connections. */
export function sumStatistics(
  connections: readonly ConnectionStatistics[],
  queued: number,
): ChannelStatistics {
  const total = connections.reduce(
    (sum, one) => ({
      framesSent: sum.framesSent + one.framesSent,
      framesReceived: sum.framesReceived + one.framesReceived,
      rawSent: sum.rawSent + one.rawSent,
      rawReceived: sum.rawReceived + one.rawReceived,
      wireSent: sum.wireSent + one.wireSent,
      wireReceived: sum.wireReceived + one.wireReceived,
    }),
    NONE,
  );
  return { ...total, queued, connections };
}
