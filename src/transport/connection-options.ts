import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { ConnectionMemory } from './connection-memory.ts';
import type { UnreadBytes } from './framer.ts';
import type { IncomingMessage } from './incoming-message.ts';
import type { UsedIds } from './pending-requests.ts';
import type { Reactor } from './reactor.ts';
import type { UnsentBytes } from './unsent-bytes.ts';

/** Who handles what a connection receives. */
export interface ConnectionHandler {
  /**
   * One command. It answers with Connection.reply, now or later; a thrown FerryError becomes an error
   * reply. Returning false parks the command: it and all later ones wait until Connection.release.
   */
  command(message: IncomingMessage): boolean;
  /** The connection is over; `reason` says why. Called once. */
  closed(reason: FerryError): void;
  /** Something that the peer can't be told: a handler's bug, a reply that nobody asked for. */
  report(error: FerryError): void;
}

/** What a connection is made of. */
export interface ConnectionOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** A connected, non-blocking UNIX stream socket; the connection closes it. */
  readonly fd: number;
  readonly handler: ConnectionHandler;
  /** Longest message in either direction, header included, in bytes. */
  readonly maxMessage: number;
  /** What another process has left of this connection, which begins frozen then; see {@link Connection.thaw}. */
  readonly inherited?: ConnectionRemains;
  /** Memory for messages of this length that was made before; absent: it is made now. */
  readonly memory?: ConnectionMemory | undefined;
}

/** Everything of a connection that is neither its socket nor its owner's. */
export interface ConnectionRemains {
  /** Received and not handled. */
  readonly unread: UnreadBytes;
  /** Begun and not sent. */
  readonly unsent: UnsentBytes;
  /** Ids of our own requests, none of which waits for a reply. */
  readonly ids: UsedIds;
}
