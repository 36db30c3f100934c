import type { MigrationState } from '../states/index.ts';

/** What is left of a saving session, in bytes (struct vfio_precopy_info in linux/vfio.h). */
export interface PrecopyEstimate {
  /** Bytes of the state as it was when the session began. */
  readonly initialBytes: bigint;
  /** Bytes that changed since they were read. */
  readonly dirtyBytes: bigint;
}

/** What one end tells of itself before a migration. */
export interface EndInspection {
  /** What must be equal on both ends, such as vendor and device. Null when the end does not say. */
  readonly identity: Readonly<Record<string, string | number>> | null;
  /** Why this end can't take part in a migration now, such as another session under way; null when it can. */
  readonly busy: string | null;
}

/**
 * One end of a migration: a device that a controller reaches. Operations take effect in the order in which they are
 * called, so that an answer to a later one proves that an earlier one has had its effect, or never will. Each
 * rejects with a FerryError: the peer's errno when it answered one, another when it did not answer at all.
 */
export interface MigrationEnd {
  /** How people and `ferry` commands call it: the path of its control socket. */
  readonly name: string;
  /** MigrationFlag bits; null when the device can't migrate. */
  flags(): Promise<bigint | null>;
  /** The state now. May be a number that this version does not know. */
  state(): Promise<number>;
  /** Takes the device to a state, over every state that lies between. */
  setState(state: MigrationState): Promise<void>;
  /**
   * Reads from the saving session at most `maxBytes` bytes, which `consume` gets in a view that is valid only during
   * the call. Returns their number; 0 is the end (in the PRE_COPY states: for now). Several may be in flight.
   */
  read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number>;
  /** Writes to the resuming session. `bytes` may be reused when the call returns. Several may be in flight. */
  write(bytes: Uint8Array): Promise<void>;
  /** What is left to read in PRE_COPY; null when the end can't tell. */
  precopyInfo(): Promise<PrecopyEstimate | null>;
  /** About how many bytes a stop-copy would yield; null when the end can't tell. */
  dataSize(): Promise<bigint | null>;
  /** Resets the device: RUNNING, any session abandoned. Resolves only when that has been verified. */
  reset(): Promise<void>;
  inspect(): Promise<EndInspection>;
}
