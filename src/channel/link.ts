import type { Carrier } from './channel.ts';

/** Who is at the other end of a link. */
export interface LinkPeer {
  readonly carrier: Carrier;
  /** For people. */
  readonly address: string;
  /** The name in its verified certificate; null without TLS. */
  readonly identity: string | null;
  /** SHA-256 of its verified certificate; null without TLS. */
  readonly fingerprint: string | null;
}

/** Where received bytes go. */
export interface LinkBuffer {
  readonly buffer: Uint8Array;
  /** Where the next bytes belong. */
  readonly offset: number;
  /** How many may be put there; 0: nothing more until the link is started anew. */
  readonly room: number;
}

/** What a link tells its owner. None is called after {@link Link.destroy}. */
export interface LinkEvents {
  /** So many bytes were put where the buffer said. */
  received(count: number): void;
  /** The other side will send nothing more. */
  ended(): void;
  failed(error: Error): void;
  /** After a {@link Link.write} that did not take all: try again. */
  writable(): void;
}

/** Bytes in both directions. */
export interface Link {
  readonly peer: LinkPeer;
  /** Whether it reports every byte that leaves, or only whole writes. */
  readonly kind: 'fd' | 'stream';
  /** Bytes that have left so far, as far as it knows. */
  readonly left: number;
  /** Begins to receive. May be called again, to go on with another buffer and other events. */
  start(into: LinkBuffer, events: LinkEvents): void;
  /** Whether it holds so much already that it should be given nothing more before `writable`. */
  readonly full: boolean;
  /**
   * Takes as much as it can of `head` and then of `body` (or null) without waiting, and returns how much. When that is
   * not all, `writable` follows. The bytes may be reused when it returns.
   */
  write(head: Uint8Array, body: Uint8Array | null): number;
  /** Sends what it has taken, then ends. */
  end(): void;
  /** Ends at once. Harmless when repeated. */
  destroy(): void;
}
