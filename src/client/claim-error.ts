import { errnoName, FerryError } from '../errors/index.ts';
import { claimName } from '../protocol/index.ts';
import { stateName } from '../states/index.ts';
import type { ClaimStatus } from './claim-status.ts';
import type { RemoteError } from './remote-error.ts';

/**
 * - `ERR_CLAIMED`: the device belongs to another migration, or another connection drives it without a claim.
 * - `ERR_CLAIM_STALE`: the claim has been taken over with a higher epoch, or was given up: whoever asked is too late.
 * - `ERR_CLAIM_STATE`: not in the present state: a device that may run can't be retired.
 * - `ERR_CLAIM_REFUSED`: any other errno.
 */
export type ClaimErrorCode = 'ERR_CLAIMED' | 'ERR_CLAIM_STALE' | 'ERR_CLAIM_STATE' | 'ERR_CLAIM_REFUSED';

/** A claim was refused. What the device belongs to was read back: {@link status}. */
export class ClaimError extends FerryError {
  declare readonly code: ClaimErrorCode;
  /** Whose the device is now; null when it can't be asked. */
  readonly status: ClaimStatus | null;

  constructor(what: string, code: ClaimErrorCode, status: ClaimStatus | null, cause: RemoteError) {
    const { errno } = cause;
    super(code, `${what} refused: ${errnoName(errno)}. ${situation(status)}. ${NEXT_STEPS[code]}`, {
      errno,
      context: {
        claim: status === null || status.id === 0n ? null : claimName(status.id),
        epoch: status?.epoch ?? null,
        retired: status?.retired ?? null,
      },
      cause,
    });
    this.status = status;
  }
}

const NEXT_STEPS: Readonly<Record<ClaimErrorCode, string>> = {
  ERR_CLAIMED:
    'Wait for the other to finish, or use ferry recover; ferry state --force takes the device over',
  ERR_CLAIM_STALE: 'Do nothing more to this device; ferry recover tells who has it',
  ERR_CLAIM_STATE: 'Stop the device first',
  ERR_CLAIM_REFUSED: 'ferry inspect shows the device',
};

/** Whose a device is, as a sentence without its full stop. */
function situation(status: ClaimStatus | null): string {
  return status === null ? 'Whose the device is can not be asked' : describeClaim(status);
}

/** Whose a device is: `it belongs to migration ... since ... (epoch 1), in STOP_COPY`. */
export function describeClaim(status: ClaimStatus): string {
  const state = stateName(status.state);
  if (!status.claimed) return `No migration has claimed the device, which is in ${state}`;
  const since = momentText(status.sinceMs);
  const retired = status.retired ? ', retired: it has been handed over' : '';
  const whose = `The device belongs to migration ${claimName(status.id)} since ${since}`;
  return `${whose} (epoch ${status.epoch}${retired}) and is in ${state}`;
}

/** The last moment that Date knows, in milliseconds (ECMAScript, Time Values). */
const LAST_MOMENT = 8.64e15;

/** A moment in milliseconds since 1970, whatever a server has said. */
function momentText(ms: number): string {
  return ms <= LAST_MOMENT ? new Date(ms).toISOString() : 'an unknown time';
}
