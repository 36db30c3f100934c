/**
 * Where the blocks of a namespace are. Offsets and lengths are in bytes, whole blocks, and inside the namespace; the
 * controller has checked them. A throw or rejection fails the command with a media error.
 *
 * What answers at once returns nothing; what takes time returns a promise, and never touches the bytes it was given
 * after that has settled.
 */
export interface NamespaceBackend {
  /** Logical blocks, at least 1; `blocks * blockSize` is at most 2^53. */
  readonly blocks: number;
  /** Bytes of a logical block. */
  readonly blockSize: 512 | 4096;
  /**
   * Whether {@link read}, {@link write} and {@link zero} always answer at once. Then they get guest memory itself;
   * otherwise buffers, because a guest may unmap its memory at any time.
   */
  readonly synchronous: boolean;
  /** Whether what was written is durable only after {@link flush}. */
  readonly volatileCache: boolean;
  /** Fills `target`. */
  read(offset: number, target: Uint8Array): void | Promise<void>;
  /** Stores `data`. */
  write(offset: number, data: Uint8Array): void | Promise<void>;
  /** Stores zeros. */
  zero(offset: number, length: number): void | Promise<void>;
  /** The contents are no longer needed: they read as zeros from now on. Absent where that can't be done. */
  discard?(offset: number, length: number): void | Promise<void>;
  /** Makes everything that was written durable. */
  flush(): void | Promise<void>;
  /** Makes everything durable and lets go of it, so that another process may take over. Harmless when repeated. */
  quiesce(): void | Promise<void>;
  /** Takes it again, or for the first time; throws when it is somebody else's. Harmless when repeated. */
  resume(): void | Promise<void>;
  /**
   * Instead of {@link quiesce}, where another process of this host goes on: gives what is open, which stays the backend's,
   * and to which nothing is done before the next operation. Absent: that process has to {@link resume}.
   */
  handOver?(): readonly number[];
  /** Goes on with what {@link handOver} has given in another process. The fds are the backend's from now on. */
  takeOver?(fds: readonly number[]): void;
}
