import type { MigrationState } from '../states/index.ts';

/** What is left of a saving session, in bytes (struct vfio_precopy_info in linux/vfio.h). */
export interface PrecopyEstimate {
  /** Bytes of the state as it was when the session began. */
  readonly initialBytes: bigint;
  /** Bytes that changed since they were read. */
  readonly dirtyBytes: bigint;
  /** There is new initial data since it was asked last (VFIO_PRECOPY_INFO_REINIT): what was loaded is of no use. */
  readonly reinitialized?: boolean;
}

/**
 * How the configuration space of a device travels. `none`: once, at the end. `ahead`: the device needs it before it
 * takes data, so it goes ahead of each round, without arming anything; what was withheld is done at the end.
 * `every-time`: ahead of each round with nothing withheld; the device filters and reorders.
 */
export type ConfigurationNeed = 'none' | 'ahead' | 'every-time';

/** Names a controller of a device: a secret of 16 bytes, and which attempt at this migration it belongs to. */
export interface ClaimTicket {
  readonly token: Uint8Array;
  readonly epoch: bigint;
}

/** What one end tells of itself before a migration. */
export interface EndInspection {
  /** What must be equal on both ends, such as vendor and device. Null when the end does not say. */
  readonly identity: Readonly<Record<string, string | number>> | null;
  /** What lies behind it, such as a file, by name: two ends that name the same one share it. */
  readonly backEnds?: readonly string[];
  /** Which device it is, whatever its name: two ends with the same number are one device. Absent or 0: unknown. */
  readonly instance?: bigint;
  /**
   * The longest piece that it gives or takes, in bytes, where the sizes of pieces matter (v1). Absent: its state is a
   * stream, which may be cut anywhere.
   */
  readonly largestPiece?: number;
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

  /** How its configuration space has to travel; null, or no method: it doesn't. */
  configurationNeed?(): Promise<ConfigurationNeed | null>;
  /** Reads what {@link MigrationEnd.writeConfiguration} of the other end takes. At most 1 MiB. */
  readConfiguration?(): Promise<Uint8Array>;
  /**
   * Sets the configuration space up, except for the withheld actions (bits of WithheldAction). Takes effect in the
   * order of the calls, as `write` does. `bytes` may be reused when the call returns.
   */
  writeConfiguration?(bytes: Uint8Array, withheld: number): Promise<void>;
  /**
   * Another process has set the configuration space up like this, and withheld these actions (bits of WithheldAction):
   * {@link MigrationEnd.performActions} goes on from there. Nothing is written.
   */
  recallConfiguration?(bytes: Uint8Array, withheld: number): void;
  /** Does what was withheld (bits of WithheldAction), such as arming interrupts. */
  performActions?(actions: number): Promise<void>;

  /**
   * Ties the device to one migration: from now on only who knows the token changes its migration state. Takes over
   * what the same token has claimed before. No method: the server knows no claims.
   */
  claim?(ticket: ClaimTicket): Promise<void>;
  /** The device, which has stopped, never runs again unless released. */
  retire?(ticket: ClaimTicket): Promise<void>;
  /** Gives the claim back, retired or not. */
  release?(ticket: ClaimTicket): Promise<void>;
}
