import type { Mapping } from './mapping.ts';

/** Guest memory that a client has mapped for its device. */
export interface DmaRange {
  /** First address, 0 to 2^64 - 1. */
  readonly iova: bigint;
  /** Bytes; at least 1. */
  readonly size: bigint;
  /** The device may read it. */
  readonly readable: boolean;
  /** The device may write it. */
  readonly writable: boolean;
  /** Synchronous calls reach it; otherwise only messages do, and so only asynchronous calls. */
  readonly direct: boolean;
}

/** Who is told of maps. It must not throw; whoever maps or unmaps waits for a promise, which must not reject. */
export interface MapObserver {
  /** The range has been mapped. */
  mapped(range: DmaRange): void | Promise<void>;
  /** The range is about to go; it can still be reached, also while this lasts. */
  unmapping(range: DmaRange): void | Promise<void>;
}

/** What an observer is told of a map. */
export function rangeOf({ start, end, readable, writable, backing }: Mapping): DmaRange {
  return { iova: start, size: end - start, readable, writable, direct: backing !== null };
}
