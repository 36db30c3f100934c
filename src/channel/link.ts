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
  /** Copies bytes that came elsewhere to {@link offset}: at most {@link room}. Then say so, as with those that came here. */
  put(bytes: Uint8Array): void;
}

/** Memory of a link that has to copy what it sends in any case: whoever fills it can do more in the same pass. */
export interface Staging {
  /** Room for exactly so many bytes. */
  reserve(size: number): Uint8Array;
  /** Sends what was put into the room that was reserved last. All of it is taken. */
  commit(): void;
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
  /** Where to put what is to be sent; null: {@link write} sends it from where it is. */
  readonly staging: Staging | null;
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
