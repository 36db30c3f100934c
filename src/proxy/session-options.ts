import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { RelayTap } from '../relay/index.ts';
import type { Reactor } from '../transport/index.ts';

/** A back end that has gone, and what it has left undone. */
export interface Loss {
  readonly path: string;
  readonly reason: string;
  /** When, in milliseconds since 1970. */
  readonly atMs: number;
  /** Requests that it had not answered and that the next one is asked. */
  readonly repeated: number;
  /** Requests that it had not answered and that were answered with EIO. */
  readonly failed: number;
}

/** What a session is made of. */
export interface SessionOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** The client's socket; the session's from now on. */
  readonly fd: number;
  /** Whether regions stay mappable, which rules out a swap. */
  readonly mmap: boolean;
  /** How long a client may wait for an answer while there is no back end, in milliseconds. */
  readonly holdLimitMs: number;
  readonly tap: RelayTap | null;
  /** How long to look for an answer on the other socket before going to sleep, in microseconds; 0 never does. */
  readonly spinMicroseconds: number;
  /** The client has gone. */
  readonly ended: (reason: FerryError) => void;
  /** The back end has gone; the client is kept. */
  readonly lost: (loss: Loss) => void;
}
