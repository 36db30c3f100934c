import type { IncomingMessage } from '../transport/index.ts';

/** A command to send. */
export interface Request {
  readonly command: number;
  /** The payload, or its fixed part when there is a {@link body}. */
  readonly payload: Uint8Array;
  /** The rest of the payload: it is sent from where it is when the socket takes it at once. */
  readonly body?: Uint8Array;
  /** They stay the caller's, and open until the reply. */
  readonly fds?: readonly number[];
}

/**
 * What a client does with a device, written once for clients that wait in different ways: a generator that yields
 * requests and is given the replies. A reply is valid only until the next yield; a refusal is thrown into the generator
 * as a RemoteError.
 */
export type Operation<T> = Generator<Request, T, IncomingMessage>;

/** Where a result goes: called once. */
export interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}
