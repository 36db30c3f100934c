/** Whose a device is (FERRY_CLAIM; docs/ownership.md). */
export interface ClaimStatus {
  /** The device belongs to a migration. */
  readonly claimed: boolean;
  /** This connection may act for it. */
  readonly mine: boolean;
  /** The device must not run: its state has been handed over. */
  readonly retired: boolean;
  /** The claim's epoch; without a claim the highest that the server remembers. */
  readonly epoch: bigint;
  /** Names the claim without telling its token, as `claimId(token)` does; 0 without a claim. */
  readonly id: bigint;
  /** When the device was first claimed with this token, in milliseconds since 1970; 0 without a claim. */
  readonly sinceMs: number;
  /** Number of the migration state at that moment. */
  readonly state: number;
  /** Random, chosen when the server started: with another number it is another device, and what was in it is lost. */
  readonly instance: bigint;
  /** Resets of the device since the server started. */
  readonly resets: bigint;
}
