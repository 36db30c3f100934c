import { claimId, claimName } from '../protocol/index.ts';
import {
  type Asker,
  CLAIM_RULES,
  type ClaimedOperation,
  type EpochRelation,
  GRANT_RULES,
  type GrantVerdict,
  type Standing,
} from './claim-rules.ts';
import { ServerError } from './server-error.ts';

/** What the server tells of a claim. */
export interface ClaimView {
  readonly id: bigint;
  readonly epoch: bigint;
  readonly retired: boolean;
  /** When the device was first claimed with this token, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** The connection that may act for it is there. */
  readonly attended: boolean;
}

/** The claims that are over. */
export interface ClaimHistory {
  /** The highest epoch that there has been. */
  readonly highest: bigint;
  /** By token, in hex: the lowest epoch with which it may come back. Oldest first. */
  readonly over: readonly (readonly [token: string, lowest: bigint])[];
}

interface Claim<Party> {
  readonly token: string;
  readonly id: bigint;
  readonly sinceMs: number;
  epoch: bigint;
  retired: boolean;
  holder: Party | null;
}

/** How many claims that are over are remembered, so that their late owners can be told. */
const REMEMBERED = 64;

/**
 * To which migration a device belongs, and who may act for it. Knows no sockets: a `Party` is whoever asks. A claim
 * outlives its holder's connection; docs/ownership.md has the rules, claim-rules.ts has them as data.
 */
export class Claims<Party extends object> {
  readonly #now: () => number;
  /** Askers whose claim was taken over: they learn it however late they wake up. */
  readonly #late = new WeakSet<Party>();
  /** By token: the lowest epoch with which a claim that is over may come back. The oldest is forgotten first. */
  readonly #over = new Map<string, bigint>();
  #claim: Claim<Party> | null = null;
  #highest = 0n;

  /** `now` is in milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Whose the device is. */
  get standing(): Standing {
    if (this.#claim === null) return 'free';
    return this.#claim.retired ? 'retired' : 'claimed';
  }

  /** The present claim, or null. */
  get view(): ClaimView | null {
    if (this.#claim === null) return null;
    const { id, epoch, retired, sinceMs, holder } = this.#claim;
    return { id, epoch, retired, sinceMs, attended: holder !== null };
  }

  /** The epoch of the claim; without one the highest that there has been. */
  get epoch(): bigint {
    return this.#claim?.epoch ?? this.#highest;
  }

  /** Whether `by` may act for the present claim. */
  holds(by: Party): boolean {
    return this.#claim !== null && this.#claim.holder === by;
  }

  /** @throws ServerError EBUSY, EKEYREVOKED, ESTALE when the claim does not let `by` do this */
  require(operation: ClaimedOperation, by: Party): void {
    const verdict = CLAIM_RULES[this.standing][this.#askerOf(by)][operation];
    if (verdict !== 'yes') throw this.#refusal(verdict);
  }

  /** Makes `by` the one who may act for the device. @throws ServerError EBUSY, ESTALE */
  grant(token: Uint8Array, epoch: bigint, by: Party): void {
    const key = keyOf(token);
    const verdict = this.#judge(key, epoch);
    if (verdict !== 'granted') throw this.#refusal(verdict);
    const before = this.#claim;
    if (before !== null && before.holder !== null && before.holder !== by) this.#late.add(before.holder);
    if (before !== null && before.token === key) {
      before.epoch = epoch;
      before.holder = by;
    } else {
      if (before !== null) this.#remember(before.token, before.epoch + 1n);
      const fresh = { token: key, id: claimId(token), sinceMs: this.#now(), epoch, retired: false };
      this.#claim = { ...fresh, holder: by };
    }
    this.#late.delete(by);
    this.#noteEpoch(epoch);
  }

  /** The device must not run any more; the caller has made sure that it does not. @throws ServerError as {@link require} */
  retire(token: Uint8Array, epoch: bigint, by: Party): void {
    this.requireOwn(token, epoch, by).retired = true;
  }

  /** Gives the claim back. @throws ServerError EBUSY, ESTALE, EINVAL when there is none */
  release(token: Uint8Array, epoch: bigint, by: Party): void {
    const claim = this.requireOwn(token, epoch, by);
    this.#remember(claim.token, claim.epoch);
    this.#claim = null;
  }

  /** Ends whatever claim there is; nobody comes back with `epoch` or a lower one. @throws ServerError ESTALE */
  force(epoch: bigint, by: Party): void {
    const claim = this.#claim;
    this.#late.delete(by);
    if (claim === null) return;
    if (epoch <= claim.epoch) throw this.#refusal('ERR_CLAIM_STALE');
    if (claim.holder !== null && claim.holder !== by) this.#late.add(claim.holder);
    this.#remember(claim.token, epoch + 1n);
    this.#noteEpoch(epoch);
    this.#claim = null;
  }

  /** What claims that are over have left behind, for another process that goes on with the device. */
  history(): ClaimHistory {
    return { highest: this.#highest, over: [...this.#over] };
  }

  /** Goes on where another process has left a device that nobody claims. */
  adopt({ highest, over }: ClaimHistory): void {
    this.#noteEpoch(highest);
    for (const [token, lowest] of over) this.#remember(token, lowest);
  }

  /** Whether `by` has lost its claim to another, and has not claimed anew. */
  isLate(by: Party): boolean {
    return this.#late.has(by);
  }

  /** `by` is {@link isLate}, as another process has found. */
  markLate(by: Party): void {
    this.#late.add(by);
  }

  /** `by` is gone; the claim stays. */
  leave(by: Party): void {
    if (this.#claim?.holder === by) this.#claim.holder = null;
  }

  /** Makes sure that this is the claim of `by`, with this epoch. @throws ServerError EBUSY, ESTALE, EINVAL */
  requireOwn(token: Uint8Array, epoch: bigint, by: Party): Claim<Party> {
    const key = keyOf(token);
    const claim = this.#claim;
    if (this.#late.has(by) || epoch < (this.#over.get(key) ?? 0n)) throw this.#refusal('ERR_CLAIM_STALE');
    if (claim === null) throw new ServerError('ERR_WRONG_STATE', 'no migration has claimed the device');
    if (claim.token !== key) throw this.#refusal('ERR_CLAIMED');
    if (claim.holder !== by || epoch < claim.epoch) throw this.#refusal('ERR_CLAIM_STALE');
    if (epoch === claim.epoch) return claim;
    throw new ServerError('ERR_WRONG_STATE', `the claim has epoch ${claim.epoch}, not ${epoch}`);
  }

  #judge(token: string, epoch: bigint): GrantVerdict {
    if (epoch < (this.#over.get(token) ?? 0n)) return 'ERR_CLAIM_STALE';
    const claim = this.#claim;
    if (claim === null) return 'granted';
    const relation = claim.token === token ? 'same' : 'other';
    return GRANT_RULES[claim.retired ? 'retired' : 'claimed'][relation][compare(epoch, claim.epoch)];
  }

  #askerOf(by: Party): Asker {
    if (this.holds(by)) return 'holder';
    return this.#late.has(by) ? 'late' : 'other';
  }

  #remember(token: string, lowest: bigint): void {
    this.#over.delete(token);
    this.#over.set(token, lowest);
    const [oldest] = this.#over.keys();
    if (this.#over.size > REMEMBERED && oldest !== undefined) this.#over.delete(oldest);
  }

  #noteEpoch(epoch: bigint): void {
    if (epoch > this.#highest) this.#highest = epoch;
  }

  #refusal(code: 'ERR_CLAIMED' | 'ERR_CLAIM_STALE' | 'ERR_RETIRED'): ServerError {
    const claim = this.#claim;
    const whose = claim === null ? 'nobody' : `migration ${claimName(claim.id)}`;
    return new ServerError(code, `${WHY[code]}; the device belongs to ${whose}`, {
      claim: claim === null ? null : claimName(claim.id),
      epoch: this.epoch,
    });
  }
}

const WHY = {
  ERR_CLAIMED: 'another migration has claimed the device',
  ERR_CLAIM_STALE: 'the claim has been taken over or is over',
  ERR_RETIRED: 'the state has been handed over, so that the device must not run',
} as const;

function compare(epoch: bigint, present: bigint): EpochRelation {
  if (epoch === present) return 'equal';
  return epoch < present ? 'lower' : 'higher';
}

function keyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString('hex');
}
