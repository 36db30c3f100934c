import type { FdFacts, FlowEnd, Side } from '../relay/index.ts';

/** Which of a server's sockets a connection is to. */
export type SocketRole = 'main' | 'control';

/** One connection in a trace. */
export interface TracedConnection {
  /** Counts all connections of the trace, from 1. */
  readonly number: number;
  readonly role: SocketRole;
}

/** Anything that happens on a connection. Times are nanoseconds since 1970. */
export type TraceEvent = {
  readonly connection: TracedConnection;
  readonly time: bigint;
} & (
  | { readonly kind: 'opened'; readonly pid: number }
  | {
      /** A whole message, header included. */
      readonly kind: 'message';
      readonly from: Side;
      readonly bytes: Uint8Array;
      /** How long it is on the wire; larger than `bytes` when it was too long to be kept. */
      readonly wireSize: number;
      readonly fds: readonly FdFacts[];
    }
  | {
      /** Bytes that are no message: the stream is no vfio-user, or ended inside one. They passed all the same. */
      readonly kind: 'bytes';
      readonly from: Side;
      readonly bytes: Uint8Array;
      readonly wireSize: number;
      readonly fds: readonly FdFacts[];
    }
  | { readonly kind: 'ended'; readonly from: Side; readonly end: FlowEnd }
);

/** A message of a trace. */
export type MessageEvent = Extract<TraceEvent, { kind: 'message' }>;

/** Bytes of a trace that are no message. */
export type BytesEvent = Extract<TraceEvent, { kind: 'bytes' }>;
