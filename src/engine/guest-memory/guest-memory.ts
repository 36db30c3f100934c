/**
 * Guest memory that moves with its devices, at the source. It takes part in every round like a device: what was written
 * since it was sent last is sent again.
 */
export interface GuestMemorySource {
  /** Sizes of the regions, in bytes, in the order of their numbers. */
  readonly regions: readonly number[];
  /** What is worth knowing of how it went, in sentences. */
  readonly notes?: readonly string[];
  /** Watches writes from now on; all of it is to be sent. */
  start(): Promise<void>;
  /** About how many bytes are to be sent now. */
  rest(): Promise<bigint>;
  /**
   * Sends what is to be sent now, or about `limit` bytes of it. `final`: the vCPUs and devices have stopped, so that
   * nothing may be left. Waits for the promise that `sink` returns before it sends more.
   */
  copy(sink: GuestMemorySink, limit: number, final: boolean): Promise<void>;
  /** Ends the watching. Idempotent. */
  stop(): Promise<void>;
}

/** Takes pages. */
export interface GuestMemorySink {
  /**
   * `bytes` may change at any time, and be reused when the call returns: others write to this memory. Null: there is
   * room for more at once.
   */
  pages(region: number, offset: bigint, bytes: Uint8Array): Promise<void> | null;
  /** Pages that are all zero. */
  zeros(region: number, offset: bigint, length: bigint): Promise<void> | null;
}

/** Guest memory at the destination. */
export interface GuestMemoryTarget extends GuestMemorySink {
  /** Sizes of the regions, in bytes. */
  readonly regions: readonly number[];
}
