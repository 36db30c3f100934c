/** The limits of a migration. All but the first two are taken as they are when it starts. */
export interface MigrationLimits {
  /** How long the guest may stand still, in milliseconds. May be changed while it runs. */
  readonly downtimeMs: number;
  /**
   * Fail also when only what a blackout takes without any data speaks against the switch, although that was measured
   * but a few times, and perhaps at a bad moment. Default: true when a caller says how long the guest may stand still.
   */
  readonly strict: boolean;
  /** Bytes per second at most; null for as fast as it goes. May be changed while it runs. */
  readonly bytesPerSecond: number | null;
  /** End after so many rounds of PRE_COPY. */
  readonly maxIterations: number;
  /** End after so many rounds in a row that left no less than the best one before them. */
  readonly stallIterations: number;
  /** Stop the devices although one can't tell how much there is to move then, and take as long as it takes. */
  readonly allowUnknownSize: boolean;
  /** When the rounds end without success: fail, or switch all the same and take as long as it takes. */
  readonly whenNotConverging: 'fail' | 'switch';
}

/**
 * Defaults: 300 ms is QEMU's downtime-limit; 30 rounds bound a writer that never pauses, and 3 without progress show
 * that it is faster than we.
 */
export const DEFAULT_LIMITS: MigrationLimits = {
  downtimeMs: 300,
  strict: false,
  bytesPerSecond: null,
  maxIterations: 30,
  stallIterations: 3,
  allowUnknownSize: false,
  whenNotConverging: 'fail',
};

/** The limits that a caller says, with defaults for the rest. */
export function limitsFrom(said: Partial<MigrationLimits> = {}): MigrationLimits {
  return { ...DEFAULT_LIMITS, strict: said.downtimeMs !== undefined, ...said };
}
