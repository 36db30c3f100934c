import type { DeviceMigration } from '../device/index.ts';
import { Errno, FerryError } from '../errors/index.ts';
import {
  type MigrationMachine,
  MigrationState,
  migrationMachine,
  parseState,
  RESET_STATE,
  sessionKind,
  stateName,
  walk,
} from '../states/index.ts';
import { ServerError } from './server-error.ts';

/** Told after each arc that the device has carried out. */
export type ArcListener<Party> = (from: MigrationState, to: MigrationState, by: Party) => void;

/**
 * The migration state of a served device, and whose data session is open. Knows no sockets: a `Party` is whoever asks.
 *
 * One party at a time drives: from its first step out of RUNNING until the device runs again, or until the party is
 * gone. A reset by somebody else ends its session, and it is told with ENODEV until it has noticed.
 */
export class MigrationSession<Party extends object> {
  readonly machine: MigrationMachine | null;
  readonly #device: DeviceMigration;
  readonly #onArc: ArcListener<Party>;
  readonly #aborted = new WeakSet<Party>();
  #state: MigrationState = RESET_STATE;
  #owner: Party | null = null;
  #busy: Promise<void> | null = null;
  #lastError: FerryError | null = null;
  #abandoned = false;

  constructor(device: DeviceMigration, onArc: ArcListener<Party>) {
    this.#device = device;
    this.#onArc = onArc;
    this.machine = device.flags === 0 ? null : migrationMachine(device.flags);
  }

  /** The state as it is now, in the middle of a transition too. */
  get state(): MigrationState {
    return this.#state;
  }

  /** Who drives the migration, or null. */
  get owner(): Party | null {
    return this.#owner;
  }

  /** Settles when the transition under way is over; null when there is none. */
  get busy(): Promise<void> | null {
    return this.#busy;
  }

  /** Why the last transition or data transfer failed; null when none has since the last reset. */
  get lastError(): FerryError | null {
    return this.#lastError;
  }

  /** Reports the state to `by`, which thereby learns of a reset that ended its session. */
  report(by: Party): MigrationState {
    this.#requireMigratable();
    this.#aborted.delete(by);
    return this.#state;
  }

  /**
   * Takes the device to `target` for `by`, synchronously if the device can.
   * @throws ServerError EBUSY, ENODEV, ENOTTY; StateError EINVAL; ArcError with the state reached
   */
  set(target: number, by: Party): void | Promise<void> {
    const machine = this.#requireMigratable();
    const to = knownState(target);
    if (target === MigrationState.RUNNING) this.#aborted.delete(by);
    this.#requireTurn(by);
    this.#abandoned = false;
    let pending: void | Promise<void>;
    try {
      pending = walk(machine, this.#state, to, (at, next) => this.#arc(at, next, by));
    } catch (error) {
      throw this.#settle(by, error);
    }
    if (pending === undefined) this.#settle(by, null);
    else return this.#track(pending, by);
  }

  /** Fills `target` with the next bytes of the saving session; returns how many, 0 at the end (for now). */
  read(target: Uint8Array, by: Party): number {
    this.#requireSession('saving', by);
    return this.#guard(() => this.#device.read(target));
  }

  /** Takes `data` into the resuming session. */
  write(data: Uint8Array, by: Party): void {
    this.#requireSession('resuming', by);
    this.#guard(() => this.#device.write(data));
  }

  /** Estimates for `by`, in PRE_COPY and PRE_COPY_P2P only (the uAPI: EINVAL elsewhere). */
  precopyInfo(by: Party): { initialBytes: bigint; dirtyBytes: bigint } {
    this.#requireSession('saving', by);
    if (this.#state === MigrationState.STOP_COPY) throw wrongState('precopy information', this.#state);
    return this.#device.precopyInfo();
  }

  /** What stop-copy would transfer, in bytes, in any state. */
  dataSize(): bigint {
    this.#requireMigratable();
    return this.#device.dataSize();
  }

  /** The device has been reset by `by`: the machine follows, and the owner of a lost session will be told. */
  wasReset(by: Party | null): void {
    if (this.#owner !== null && this.#owner !== by) this.#aborted.add(this.#owner);
    if (by !== null) this.#aborted.delete(by);
    this.#owner = null;
    this.#lastError = null;
    this.#state = RESET_STATE;
  }

  /** The device could not be reset: only another reset leads out of here. */
  failed(error: FerryError): void {
    this.#lastError = error;
    this.#state = MigrationState.ERROR;
  }

  /** `by` is gone: the state stays, and whoever comes next may go on. */
  leave(by: Party): void {
    if (this.#owner === by) this.#owner = null;
  }

  /** A controller may not reset the device while another drives; one whose session was aborted may. */
  requireTurnToReset(by: Party): void {
    if (this.#owner !== null && this.#owner !== by) throw drivenByAnother(this.#state);
  }

  /** The transition under way has taken too long: it goes no further than the arc that the device is in. */
  abandon(): void {
    this.#abandoned = true;
  }

  #requireMigratable(): MigrationMachine {
    if (this.machine !== null) return this.machine;
    throw new ServerError('ERR_NOT_SUPPORTED', 'the device does not support migration');
  }

  #requireTurn(by: Party): void {
    if (this.#aborted.has(by)) throw sessionAborted();
    if (this.#owner !== null && this.#owner !== by) throw drivenByAnother(this.#state);
    if (this.#busy !== null) {
      throw new ServerError('ERR_BUSY', 'a transition is under way', { state: stateName(this.#state) });
    }
  }

  #requireSession(kind: 'saving' | 'resuming', by: Party): void {
    this.#requireMigratable();
    this.#requireTurn(by);
    if (sessionKind(this.#state) !== kind) throw wrongState(`a ${kind} session`, this.#state);
    this.#owner = by;
  }

  #arc(from: MigrationState, to: MigrationState, by: Party): void | Promise<void> {
    const arrive = (): void => {
      this.#state = to;
      this.#onArc(from, to, by);
    };
    if (this.#abandoned) throw new ServerError('ERR_TRANSITION_TIMEOUT', 'the change of state was given up');
    const pending = this.#device.arc(from, to);
    if (pending === undefined) return arrive();
    return pending.then(arrive);
  }

  #track(pending: Promise<void>, by: Party): Promise<void> {
    const settled = pending.then(
      () => {
        this.#busy = null;
        this.#settle(by, null);
      },
      (error: unknown) => {
        this.#busy = null;
        throw this.#settle(by, error);
      },
    );
    this.#busy = settled.catch(() => {});
    return settled;
  }

  #settle(by: Party, error: unknown): unknown {
    if (error instanceof FerryError) this.#lastError = error;
    this.#owner = this.#state === MigrationState.RUNNING ? null : by;
    return error;
  }

  #guard<T>(transfer: () => T): T {
    try {
      return transfer();
    } catch (error) {
      if (error instanceof FerryError) this.#lastError = error;
      throw error;
    }
  }
}

/** @throws ServerError EINVAL (linux vfio_main.c) for a number that no state has */
function knownState(target: number): MigrationState {
  const state = parseState(target);
  if (state === null)
    throw new ServerError('ERR_BAD_RANGE', `${target} is no migration state`, { state: target });
  return state;
}

function drivenByAnother(state: MigrationState): ServerError {
  return new ServerError('ERR_BUSY', 'another connection drives the migration of this device', {
    state: stateName(state),
  });
}

function wrongState(what: string, state: MigrationState): ServerError {
  return new ServerError('ERR_WRONG_STATE', `there is no ${what} in ${stateName(state)}`, {
    state: stateName(state),
  });
}

function sessionAborted(): ServerError {
  const message = 'the device was reset by another connection, which ended this data session';
  return new ServerError('ERR_SESSION_ABORTED', message, {}, { errno: Errno.ENODEV });
}
