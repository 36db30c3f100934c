/** Which migration it is: what every decision names. */
export interface MigrationId {
  /** 32 hex digits. */
  readonly group: string;
  readonly epoch: bigint;
}

/** How a person reaches what a side can't. */
export interface PeerNames {
  /** The other side's devices, as `ferry` commands on this host name them; null when they are on another host. */
  readonly devices: readonly string[] | null;
  /** The command that ends a doubt from the journals; null when they are not kept. */
  readonly recover: string | null;
}

/** What both sequences are told. */
export interface SidePlan extends MigrationId {
  /** How this side's devices are called, in the order of the group. */
  readonly names: readonly string[];
  /** Each device's server knows claims. */
  readonly claims: readonly boolean[];
  /** Sizes of the regions of guest memory that move too, in bytes. */
  readonly memory: readonly number[];
  readonly peer: PeerNames;
}

/** What the sending sequence is told. */
export interface SenderPlan extends SidePlan {
  /** False: stop at once and move everything then. */
  readonly preCopy: boolean;
  /** The guest does not run, and is not to run afterwards. */
  readonly paused: boolean;
  /** Move a group although it can't be stopped without risk. */
  readonly force: boolean;
  /** Stop after both sides have been compared. */
  readonly dryRun: boolean;
}
