import type { ClaimedOperation } from './claim-rules.ts';

/** To whom a device belongs, as far as its migration session cares. */
export interface ClaimGate<Party> {
  /** @throws ServerError when `by` may not do this */
  require(operation: ClaimedOperation, by: Party): void;
  /** Whether `by` acts for the migration that has claimed the device. */
  holds(by: Party): boolean;
}

/** A device that can't be claimed. */
export const UNCLAIMED: ClaimGate<object> = { require: () => {}, holds: () => false };
