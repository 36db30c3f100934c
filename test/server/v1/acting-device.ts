import type { DeviceMigration } from '../../../src/device/index.ts';
import { Errno, FerryError } from '../../../src/errors/index.ts';
import { type DriverAction, MigrationState, stateName } from '../../../src/states/index.ts';

/** What the driver does on an arc of v2, in order. Ending a session takes nothing. */
const ACTIONS: Readonly<Record<string, readonly DriverAction[]>> = {
  'RUNNING>RUNNING_P2P': ['quiesce'],
  'RUNNING_P2P>RUNNING': ['unquiesce'],
  'RUNNING_P2P>STOP': ['freeze'],
  'STOP>RUNNING_P2P': ['unfreeze'],
  'RUNNING>STOP': ['quiesce', 'freeze'],
  'STOP>RUNNING': ['unfreeze', 'unquiesce'],
  'STOP>STOP_COPY': ['serialize'],
  'STOP_COPY>STOP': [],
  'STOP>RESUMING': ['reset'],
  'RESUMING>STOP': ['deserialize'],
  'RUNNING>PRE_COPY': ['track'],
  'PRE_COPY>RUNNING': [],
  'RUNNING_P2P>PRE_COPY_P2P': ['track'],
  'PRE_COPY_P2P>RUNNING_P2P': [],
  'PRE_COPY>PRE_COPY_P2P': ['quiesce'],
  'PRE_COPY_P2P>PRE_COPY': ['unquiesce'],
  'PRE_COPY_P2P>STOP_COPY': ['freeze', 'serialize'],
  'PRE_COPY>STOP_COPY': ['quiesce', 'freeze', 'serialize'],
};

/** The errno of an action that fails, which nothing else uses. */
export const ACTION_FAILED = Errno.EPROTO;

/** What a device is in fact, whatever anybody calls it. */
export interface Facts {
  readonly startsDma: boolean;
  readonly frozen: boolean;
  readonly session: 'saving' | 'resuming' | null;
}

/**
 * A device that consists of what its driver does. An arc that fails leaves it as it was. Its state is a stream of
 * numbered bytes, so that a piece that is lost or comes twice is seen.
 */
export class ActingDevice implements DeviceMigration {
  readonly flags: number;
  /** Actions that fail; those of the first list only once. */
  failOnce: DriverAction[] = [];
  failAlways: DriverAction[] = [];
  /** Whether arcs take time. */
  slow = false;
  /** What was done since {@link actions} was cleared, without what failed. */
  actions: DriverAction[] = [];
  /** Bytes that the session has for who reads. */
  available = 0;
  /** How many it has given. */
  given = 0;
  received: number[] = [];
  #startsDma = true;
  #frozen = false;
  #session: Facts['session'] = null;

  constructor(flags: number) {
    this.flags = flags;
  }

  get facts(): Facts {
    return { startsDma: this.#startsDma, frozen: this.#frozen, session: this.#session };
  }

  arc(from: MigrationState, to: MigrationState): void | Promise<void> {
    const actions = ACTIONS[`${stateName(from)}>${stateName(to)}`];
    if (actions === undefined) throw new TypeError(`no arc ${stateName(from)} > ${stateName(to)}`);
    if (!this.slow) return this.#perform(actions, to);
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        try {
          resolve(this.#perform(actions, to));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  read(target: Uint8Array): number {
    const count = Math.min(target.length, this.available);
    for (let i = 0; i < count; i += 1) target[i] = (this.given + i) % 251;
    this.given += count;
    this.available -= count;
    return count;
  }

  write(data: Uint8Array): void {
    this.received.push(...data);
  }

  precopyInfo() {
    return { initialBytes: BigInt(this.available), dirtyBytes: 0n };
  }

  dataSize(): bigint {
    return BigInt(this.available);
  }

  reset(): void {
    this.#startsDma = true;
    this.#frozen = false;
    this.#session = null;
  }

  #perform(actions: readonly DriverAction[], to: MigrationState): void {
    for (const action of actions) this.#mayFail(action);
    for (const action of actions) {
      this.actions.push(action);
      if (action === 'quiesce') this.#startsDma = false;
      if (action === 'unquiesce') this.#startsDma = true;
      if (action === 'freeze') this.#frozen = true;
      if (action === 'unfreeze') this.#frozen = false;
    }
    this.#enter(to);
  }

  #mayFail(action: DriverAction): void {
    const once = this.failOnce.indexOf(action);
    if (once >= 0) this.failOnce.splice(once, 1);
    if (once < 0 && !this.failAlways.includes(action)) return;
    throw new FerryError('ERR_TEST', `${action} failed`, { errno: ACTION_FAILED });
  }

  #enter(to: MigrationState): void {
    const { PRE_COPY, PRE_COPY_P2P, STOP_COPY, RESUMING } = MigrationState;
    const saves = to === PRE_COPY || to === PRE_COPY_P2P || to === STOP_COPY;
    if (saves && this.#session !== 'saving') {
      this.given = 0;
      this.available = 10;
    }
    if (to === STOP_COPY) this.available += 7;
    if (to === RESUMING) this.received = [];
    this.#session = saves ? 'saving' : to === RESUMING ? 'resuming' : null;
  }
}
