import { isRunning, MigrationState } from '../states/index.ts';
import type { ServerErrorCode } from './server-error.ts';

/** Whose a device is: nobody's, a migration's, or a migration's that has handed its state over. */
export type Standing = 'free' | 'claimed' | 'retired';

/**
 * Who asks: the connection that claimed last; one whose claim was taken over by another or by force; anybody else, on
 * either socket.
 */
export type Asker = 'holder' | 'late' | 'other';

/** What a claim decides about: a state to go to, by kind; a use of the data session; a reset by the control side. */
export type ClaimedOperation = 'run' | 'stop' | 'resume' | 'read data' | 'write data' | 'reset';

/** `yes`: as without claims. Otherwise why not. */
export type ClaimVerdict =
  | 'yes'
  | Extract<ServerErrorCode, 'ERR_CLAIMED' | 'ERR_CLAIM_STALE' | 'ERR_RETIRED'>;

type Verdicts = Readonly<Record<ClaimedOperation, ClaimVerdict>>;

/** The same for every operation. */
function always(verdict: ClaimVerdict): Verdicts {
  return {
    run: verdict,
    stop: verdict,
    resume: verdict,
    'read data': verdict,
    'write data': verdict,
    reset: verdict,
  };
}

const retiredHolder: Verdicts = {
  ...always('yes'),
  run: 'ERR_RETIRED',
  resume: 'ERR_RETIRED',
  reset: 'ERR_RETIRED',
};

/**
 * Who may do what, as docs/ownership.md says. A device that is nobody's has no holder; the row says what would be
 * right. RESUMING of a retired device would make it run with another state: it has to be released first.
 */
export const CLAIM_RULES: Readonly<Record<Standing, Readonly<Record<Asker, Verdicts>>>> = {
  free: { holder: always('yes'), late: always('ERR_CLAIM_STALE'), other: always('yes') },
  claimed: { holder: always('yes'), late: always('ERR_CLAIM_STALE'), other: always('ERR_CLAIMED') },
  retired: { holder: retiredHolder, late: always('ERR_CLAIM_STALE'), other: always('ERR_CLAIMED') },
};

/** What kind of operation a change to this state is. */
export function operationTo(state: MigrationState): ClaimedOperation {
  if (isRunning(state)) return 'run';
  return state === MigrationState.RESUMING ? 'resume' : 'stop';
}

/** How a claim's token compares: that of the present claim, another, or one whose claim was taken over meanwhile. */
export type TokenRelation = 'same' | 'other';

/** How an epoch compares with that of the present claim. */
export type EpochRelation = 'lower' | 'equal' | 'higher';

/** What becomes of a CLAIM. */
export type GrantVerdict = 'granted' | Extract<ServerErrorCode, 'ERR_CLAIMED' | 'ERR_CLAIM_STALE'>;

/** What becomes of a CLAIM of a device that is not free, by its standing, the token and the epoch. */
export const GRANT_RULES: Readonly<
  Record<
    Exclude<Standing, 'free'>,
    Readonly<Record<TokenRelation, Readonly<Record<EpochRelation, GrantVerdict>>>>
  >
> = {
  claimed: {
    same: { lower: 'ERR_CLAIM_STALE', equal: 'granted', higher: 'granted' },
    other: { lower: 'ERR_CLAIMED', equal: 'ERR_CLAIMED', higher: 'granted' },
  },
  retired: {
    same: { lower: 'ERR_CLAIM_STALE', equal: 'granted', higher: 'granted' },
    other: { lower: 'ERR_CLAIMED', equal: 'ERR_CLAIMED', higher: 'ERR_CLAIMED' },
  },
};
