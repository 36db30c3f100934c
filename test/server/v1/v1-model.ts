import { V1State } from '../../../src/states/index.ts';
import type { Facts } from './acting-device.ts';

const { STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING, ERROR } = V1State;

/** Bytes of the data section. */
export const SECTION = 4;

/** What a v1 device should be, written as plainly as possible. */
export class V1Model {
  state: V1State = RUNNING;
  /** The one who drives. */
  owner: number | null = null;
  /** Who has not noticed yet that somebody else has reset the device. */
  readonly aborted = new Set<number>();
  /** The device has pre-copy of its own. */
  readonly preCopies: boolean;
  /** Bytes that were acknowledged in this session. */
  acknowledged = 0;
  /** Bytes of the piece that is offered; null: nobody has asked for one. */
  piece: number | null = null;
  placeRead = false;
  sizeRead = false;

  constructor(preCopies: boolean) {
    this.preCopies = preCopies;
  }

  /** Whether a data session is open; a device without pre-copy of its own has none in pre-copy. */
  get saving(): boolean {
    return this.state === STOP_COPY || (this.state === PRE_COPY && this.preCopies);
  }

  /** Why this party may not use the session; null when it may. */
  whyNot(by: number): 'ENODEV' | 'EBUSY' | null {
    if (this.aborted.has(by)) return 'ENODEV';
    return this.isBusy(by) ? 'EBUSY' : null;
  }

  isBusy(by: number): boolean {
    return this.owner !== null && this.owner !== by;
  }

  /** The device has got to `state`, by a change that `by` has asked for. */
  arrive(state: V1State, by: number, newSession: boolean): void {
    this.state = state;
    this.owner = state === RUNNING ? null : by;
    if (newSession || !this.saving) this.forgetPiece();
    if (newSession) this.acknowledged = 0;
  }

  reset(by: number): void {
    if (this.owner !== null && this.owner !== by) this.aborted.add(this.owner);
    this.aborted.delete(by);
    this.state = RUNNING;
    this.owner = null;
    this.forgetPiece();
  }

  forgetPiece(): void {
    this.piece = null;
    this.placeRead = false;
    this.sizeRead = false;
  }
}

/** Whether what is reported is what is the case. */
export function isTrue(state: V1State, facts: Facts, preCopies: boolean): boolean {
  const { startsDma, frozen, session } = facts;
  const runs = startsDma && !frozen;
  const stands = !startsDma && frozen;
  switch (state) {
    case STOP:
      return stands && session === null;
    case RUNNING:
      return runs && session === null;
    case STOP_COPY:
      return stands && session === 'saving';
    case PRE_COPY:
      return runs && session === (preCopies ? 'saving' : null);
    case RESUMING:
      return stands && session === 'resuming';
    case ERROR:
      return true;
  }
}
