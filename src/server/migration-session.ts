import type { DeviceMigration } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import {
  type MigrationMachine,
  MigrationState,
  migrationMachine,
  RESET_STATE,
  sessionKind,
  walk,
} from '../states/index.ts';
import { type ClaimGate, UNCLAIMED } from './claim-gate.ts';
import { operationTo } from './claim-rules.ts';
import { Drivers } from './drivers.ts';
import { knownState, sessionAborted, underWay, wrongState } from './migration-refusals.ts';
import { ServerError } from './server-error.ts';

/** Who is told of the changes of the migration state. */
export interface MigrationListener<Party> {
  /** The device is about to carry out an arc. */
  departs(from: MigrationState, to: MigrationState): void;
  /** The device has carried out an arc. */
  arc(from: MigrationState, to: MigrationState, by: Party): void;
  /** A change of state is over; `error` is why it did not get where `by` wanted, or null. */
  settled(by: Party, error: unknown): void;
}

/**
 * The migration state of a served device, and whose data session is open. Knows no sockets: a `Party` is whoever asks.
 *
 * One party at a time drives: from the moment it changes the state until the device runs again, or until the party is
 * gone. A reset by somebody else ends its session, also in the middle of a transition, and it is told with ENODEV until
 * it has noticed.
 */
export class MigrationSession<Party extends object> {
  readonly machine: MigrationMachine | null;
  readonly drivers = new Drivers<Party>();
  readonly #device: DeviceMigration;
  readonly #listener: MigrationListener<Party>;
  readonly #gate: ClaimGate<Party>;
  #state: MigrationState = RESET_STATE;
  #inTransition = false;
  #resetting = false;
  /** Goes up with every reset: a transition that began before it no longer counts. */
  #epoch = 0;
  #lastError: FerryError | null = null;
  #abandoned = false;

  constructor(
    device: DeviceMigration,
    listener: MigrationListener<Party>,
    gate: ClaimGate<Party> = UNCLAIMED,
  ) {
    this.#gate = gate;
    this.#device = device;
    this.#listener = listener;
    this.machine = device.flags === 0 ? null : migrationMachine(device.flags);
  }

  /** The state as it is now, in the middle of a transition too. */
  get state(): MigrationState {
    return this.#state;
  }

  /** Who drives the migration, or null. */
  get owner(): Party | null {
    return this.drivers.owner;
  }

  /** How the device may move. @throws ServerError ENOTTY for one that does not migrate */
  requireMigratable(): MigrationMachine {
    if (this.machine !== null) return this.machine;
    throw new ServerError('ERR_NOT_SUPPORTED', 'the device does not support migration');
  }

  /** Whether a transition is under way. */
  get inTransition(): boolean {
    return this.#inTransition;
  }

  /** Resets since the server started. */
  get resets(): number {
    return this.#epoch;
  }

  /** Why the last transition or data transfer failed; null when none has since the last reset. */
  get lastError(): FerryError | null {
    return this.#lastError;
  }

  /** Reports the state to `by`, which thereby learns of a reset that ended its session. */
  report(by: Party): MigrationState {
    this.requireMigratable();
    if (!this.#resetting) this.drivers.noticed(by);
    return this.#state;
  }

  /**
   * Takes the device to `target` for `by`, synchronously if the device can.
   * @throws ServerError EBUSY, ENODEV, ENOTTY; StateError EINVAL; ArcError with the state reached
   */
  set(target: number, by: Party): void | Promise<void> {
    const machine = this.requireMigratable();
    const to = knownState(target);
    this.#gate.require(operationTo(to), by);
    // Who acts for a claim means the device as it was when it looked last, never what a reset has left.
    if (to !== MigrationState.RUNNING || this.#gate.holds(by)) this.drivers.requireNotAborted(by);
    this.#requireTurn(by);
    machine.next(this.#state, to);
    this.drivers.take(by);
    this.#abandoned = false;
    const epoch = this.#epoch;
    let pending: void | Promise<void>;
    try {
      pending = walk(machine, this.#state, to, (at, next) => this.#arc(at, next, by, epoch));
    } catch (error) {
      throw this.#settle(by, epoch, error);
    }
    if (pending === undefined) this.#settle(by, epoch, null);
    else return this.#track(pending, by, epoch);
  }

  /** Fills `target` with the next bytes of the saving session; returns how many, 0 at the end (for now). */
  read(target: Uint8Array, by: Party): number {
    this.requireSession('saving', by);
    return this.#guard(() => this.#device.read(target));
  }

  /** The next bytes of the saving session where the device has them, or null: then {@link read} copies them. */
  view(limit: number, by: Party): Uint8Array | null {
    this.requireSession('saving', by);
    return this.#guard(() => this.#device.view?.(limit) ?? null);
  }

  /** Takes `data` into the resuming session. */
  write(data: Uint8Array, by: Party): void {
    this.requireSession('resuming', by);
    this.#guard(() => this.#device.write(data));
  }

  /** Estimates for `by`, in PRE_COPY and PRE_COPY_P2P only (the uAPI: EINVAL elsewhere). */
  precopyInfo(by: Party): { initialBytes: bigint; dirtyBytes: bigint } {
    this.requireSession('saving', by);
    if (this.#state === MigrationState.STOP_COPY) throw wrongState('precopy information', this.#state);
    return this.#device.precopyInfo();
  }

  /** What stop-copy would transfer, in bytes, in any state. */
  dataSize(by: Party): bigint {
    this.requireMigratable();
    this.drivers.requireNotAborted(by);
    return this.#device.dataSize();
  }

  /** `by` resets the device: what goes on is void, the owner of a session that this ends will be told. */
  resetBegins(by: Party): void {
    this.drivers.evict(by);
    this.drivers.noticed(by);
    this.drivers.rest();
    this.#inTransition = false;
    this.#resetting = true;
    this.#epoch += 1;
  }

  /** The device has been reset: the machine follows. */
  wasReset(): void {
    this.#resetting = false;
    this.#lastError = null;
    this.#state = RESET_STATE;
  }

  /** The device could not be reset: only another reset leads out of here. */
  failed(error: FerryError): void {
    this.#resetting = false;
    this.#lastError = error;
    this.#state = MigrationState.ERROR;
  }

  /** So many resets there have been with the device in another process; no transition is under way. */
  adoptResets(count: number): void {
    this.#epoch = count;
  }

  /** `by` is gone: the state stays, and whoever comes next may go on. */
  leave(by: Party): void {
    this.drivers.leave(by);
  }

  /** `by` drives from now on, whoever did: the claim was taken over. What runs already is nobody's turn. */
  takeOver(by: Party): void {
    if (this.#state !== MigrationState.RUNNING || this.#inTransition) this.drivers.take(by);
  }

  /** @throws ServerError EBUSY while another drives */
  requireNotDriven(by: Party): void {
    this.drivers.requireNoOther(by, this.#state);
  }

  /** Makes sure that the device does not run and nothing is under way that could change that. @throws ServerError */
  requireStopped(): void {
    this.#requireStill();
    if (this.#state === MigrationState.STOP_COPY || this.#state === MigrationState.STOP) return;
    throw wrongState('device to retire', this.#state);
  }

  /**
   * A controller may not run or reset the device while another drives; one whose session was aborted may reset it.
   * @throws ServerError when the claim on the device, or who drives it, does not let `by` do this
   */
  requireMay(operation: 'run' | 'reset', by: Party): void {
    this.#gate.require(operation, by);
    this.requireNotDriven(by);
  }

  /** The transition under way has taken too long: it goes no further than the arc that the device is in. */
  abandon(): void {
    this.#abandoned = true;
  }

  #requireTurn(by: Party): void {
    this.requireNotDriven(by);
    this.#requireStill();
  }

  #requireStill(): void {
    if (this.#inTransition) throw underWay('a transition', this.#state);
    if (this.#resetting) throw underWay('a reset', this.#state);
  }

  /** Makes sure that `by` may use the data session of this kind, which has to be open, and drives from now on. */
  requireSession(kind: 'saving' | 'resuming', by: Party): void {
    this.requireMigratable();
    this.#gate.require(kind === 'saving' ? 'read data' : 'write data', by);
    this.drivers.requireNotAborted(by);
    this.#requireTurn(by);
    if (sessionKind(this.#state) !== kind) throw wrongState(`a ${kind} session`, this.#state);
    this.drivers.take(by);
  }

  #arc(from: MigrationState, to: MigrationState, by: Party, epoch: number): void | Promise<void> {
    this.#requireCurrent(epoch);
    this.#gate.require(operationTo(to), by);
    if (this.#abandoned) throw new ServerError('ERR_TRANSITION_TIMEOUT', 'the change of state was given up');
    const arrive = (): void => {
      this.#requireCurrent(epoch);
      this.#state = to;
      this.#listener.arc(from, to, by);
    };
    this.#listener.departs(from, to);
    const pending = this.#device.arc(from, to);
    if (pending === undefined) return arrive();
    return pending.then(arrive);
  }

  /** A reset has put the device elsewhere: nothing of a transition that began before may touch it. */
  #requireCurrent(epoch: number): void {
    if (epoch !== this.#epoch) throw sessionAborted();
  }

  #track(pending: Promise<void>, by: Party, epoch: number): Promise<void> {
    this.#inTransition = true;
    return pending.then(
      () => {
        this.#settle(by, epoch, null);
      },
      (error: unknown) => {
        throw this.#settle(by, epoch, error);
      },
    );
  }

  /** The transition is over; returns the error that `by` is to be told. */
  #settle(by: Party, epoch: number, error: unknown): unknown {
    if (epoch !== this.#epoch) return sessionAborted();
    this.#inTransition = false;
    if (error instanceof FerryError) this.#lastError = error;
    if (this.#state === MigrationState.RUNNING) this.drivers.rest();
    if (error === null) this.drivers.noticed(by);
    this.#listener.settled(by, error);
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
