import { randomBytes } from 'node:crypto';
import { isRunning, MigrationState } from '../states/index.ts';
import type { Claims, ClaimView } from './claims.ts';
import type { MigrationSession } from './migration-session.ts';

/** Whose a device is, as `by` is told. */
export interface ClaimStanding {
  readonly view: ClaimView | null;
  /** It is the claim of whoever asks. */
  readonly yours: boolean;
  /** The epoch of the claim; without one the highest that there has been. */
  readonly epoch: bigint;
  readonly state: MigrationState;
  readonly instance: bigint;
  readonly resets: bigint;
}

/** Changes of whose a served device is, with what follows from them for its migration session and its hold. */
export class ClaimDesk<Party extends object> {
  /** Random: the same device has the same number for as long as its server lives, another one another number. */
  #instance: bigint = randomBytes(8).readBigUInt64LE();
  readonly #claims: Claims<Party>;
  readonly #session: MigrationSession<Party>;
  readonly #beginHold: () => void;

  /** See above; another process that goes on with the device keeps it. */
  get instance(): bigint {
    return this.#instance;
  }

  /** It is the device that another process has served as this instance. */
  adoptInstance(instance: bigint): void {
    this.#instance = instance;
  }

  /** `beginHold` keeps the device from its VMM, unless it is kept from it already. */
  constructor(claims: Claims<Party>, session: MigrationSession<Party>, beginHold: () => void) {
    this.#claims = claims;
    this.#session = session;
    this.#beginHold = beginHold;
  }

  /** Ties the device to a migration for which `by` acts. A stopped device belongs to it, so its VMM waits. @throws ServerError */
  claim(token: Uint8Array, epoch: bigint, by: Party): void {
    this.#session.requireMigratable();
    if (this.#claims.standing === 'free') this.#session.requireNotDriven(by);
    this.#claims.grant(token, epoch, by);
    this.#session.takeOver(by);
    const { state } = this.#session;
    if (!isRunning(state) && state !== MigrationState.ERROR) this.#beginHold();
  }

  /** Keeps the device, which does not run, from running again before it is released. @throws ServerError */
  retire(token: Uint8Array, epoch: bigint, by: Party): void {
    this.#claims.requireOwn(token, epoch, by);
    this.#session.requireStopped();
    this.#claims.retire(token, epoch, by);
  }

  /** Gives the claim back. @throws ServerError */
  release(token: Uint8Array, epoch: bigint, by: Party): void {
    this.#claims.release(token, epoch, by);
  }

  /** Takes the device from whoever has it, claim and session. @throws ServerError */
  force(epoch: bigint, by: Party): void {
    this.#claims.force(epoch, by);
    this.#session.drivers.evict(by);
  }

  /** `by` is gone. */
  leave(by: Party): void {
    this.#claims.leave(by);
  }

  /** The device's state has been handed over. */
  get retired(): boolean {
    return this.#claims.standing === 'retired';
  }

  /** The present claim, or null. */
  get view(): ClaimView | null {
    return this.#claims.view;
  }

  /** Whose the device is now. */
  standing(by: Party): ClaimStanding {
    const { view, epoch } = this.#claims;
    const { state, resets } = this.#session;
    return {
      ...{ view, epoch, state, instance: this.instance },
      ...{ yours: this.#claims.holds(by), resets: BigInt(resets) },
    };
  }
}
