import { type BindableDevice, Log, type ResetReason, type ServedDevice } from '../device/index.ts';
import type { FerryError } from '../errors/index.ts';
import { AddressSpace } from '../memory/index.ts';
import type { Native } from '../native/index.ts';
import {
  type Capabilities,
  DEFAULT_MAX_DATA_XFER_SIZE,
  OUR_CAPABILITIES,
  RegionIndex,
} from '../protocol/index.ts';
import { ArcError, isRunning, MigrationState, mayInitiateDma, stateName } from '../states/index.ts';
import { type HeldMessage, type Reactor, TransportError } from '../transport/index.ts';
import { ClaimDesk } from './claim-desk.ts';
import { Claims } from './claims.ts';
import type { DeviceServerOptions } from './device-server-options.ts';
import { DmaLogging } from './dma-logging.ts';
import { Doorbells } from './doorbells.ts';
import { Hold } from './hold.ts';
import { HoldClock } from './hold-clock.ts';
import { IrqEventfds } from './irq-eventfds.ts';
import { MessageDmaPort } from './message-dma-port.ts';
import { type MigrationListener, MigrationSession } from './migration-session.ts';
import { OrphanedWrites } from './orphaned-writes.ts';
import { type KeptDevice, Reconnection } from './reconnection.ts';
import { ResetRun } from './reset-run.ts';
import { Seats } from './seats.ts';
import { type Role, ServedConnection } from './served-connection.ts';
import { heldTooLong, ServerError } from './server-error.ts';
import { Succession } from './succession.ts';
import { Switchover } from './switchover.ts';
import { V1Interface } from './v1/v1-interface.ts';
import type { V1Options } from './v1/v1-options.ts';

/**
 * One device, its main connection and its control connections: who may do what when. docs/ownership.md is the law.
 */
export class DeviceServer {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly capabilities: Capabilities & { readonly maxDataXferSize: number };
  readonly memory: AddressSpace;
  readonly device: ServedDevice;
  readonly eventfds: IrqEventfds;
  readonly doorbells: Doorbells;
  readonly migration: MigrationSession<ServedConnection>;
  /** The migration region; null where the device is migrated by v2, or not at all. */
  readonly v1: V1Interface<ServedConnection> | null;
  readonly claims: ClaimDesk<ServedConnection>;
  readonly logging: DmaLogging<ServedConnection>;
  readonly reconnection: Reconnection<ServedConnection>;
  readonly hold = new Hold();
  readonly switchover: Switchover<ServedConnection>;
  readonly log: Log;
  /** How another process goes on where this one stops. */
  readonly succession: Succession;
  /** Takes the socket on which another process asks for the device; null: it is not handed over. May throw FerryError. */
  onHandover: ((by: ServedConnection, fd: number) => void) | null = null;
  readonly #transitionTimeoutMs: number;
  readonly #holdClock: HoldClock;
  readonly #report: (error: FerryError) => void;
  readonly #seats: Seats;
  readonly #orphans: OrphanedWrites;
  readonly #resets: ResetRun;
  #closing = false;

  constructor(device: BindableDevice, options: DeviceServerOptions) {
    this.native = options.native;
    this.reactor = options.reactor;
    const capabilities = options.capabilities ?? OUR_CAPABILITIES;
    this.capabilities = {
      ...capabilities,
      maxDataXferSize: capabilities.maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE,
    };
    const { log, logLevel = 'info', report = () => {} } = options;
    this.log = log === undefined ? Log.OFF : new Log(logLevel, log);
    this.#report = (error) => {
      this.log.error(() => `${error.message} (${error.code})`);
      report(error);
    };
    this.#seats = new Seats(options.native, options.reactor);
    this.#holdClock = new HoldClock({
      reactor: options.reactor,
      limitMs: options.holdLimitMs ?? 4_000,
      waitingSince: () => this.main?.connection.heldSince ?? null,
      expired: () => this.#expireHold(),
    });
    this.#transitionTimeoutMs = options.transitionTimeoutMs ?? 10_000;
    const { maxDmaMaps: maxMaps } = capabilities;
    this.memory = new AddressSpace(options.native, maxMaps === undefined ? {} : { maxMaps });
    this.eventfds = new IrqEventfds(options.native);
    this.doorbells = new Doorbells({
      native: options.native,
      reactor: options.reactor,
      report: this.#report,
    });
    this.logging = new DmaLogging(this.memory);
    this.#orphans = new OrphanedWrites(options.native, this.#report);
    this.device = device.bind({
      native: options.native,
      memory: this.memory,
      timers: options.reactor,
      mode: options.reactor.mode,
      report: this.#report,
      log: this.log,
    });
    this.#resets = new ResetRun(this.device, {
      done: () => this.#wasReset(),
      failed: (error) => this.#resetFailed(error),
      over: () => this.#resetOver(),
    });
    this.switchover = new Switchover(this.memory, this.device.interrupts);
    const claims = new Claims<ServedConnection>();
    const listener: MigrationListener<ServedConnection> = {
      departs: (from, to) => this.#departs(from, to),
      arc: (from, to, by) => this.#arc(from, to, by),
      settled: (by, error) => this.#settled(by, error),
    };
    this.migration = new MigrationSession(this.device.migration, listener, claims);
    this.claims = new ClaimDesk(claims, this.migration, () => this.#beginHold());
    this.reconnection = new Reconnection(options.onReconnect ?? 'reset', this.#keptDevice());
    this.v1 = this.#makeV1(options.v1 ?? null);
    this.succession = new Succession({
      ...{ server: this, seats: this.#seats, claims, resets: this.#resets },
      stopClock: () => this.#holdClock.stop(),
    });
  }

  /** The VMM's connection, or null. */
  get main(): ServedConnection | null {
    return this.#seats.main;
  }

  /** How many connections there are, of whatever kind. */
  get clients(): number {
    return this.#seats.all.length;
  }

  /** How many control connections there are. */
  get controls(): number {
    return this.#seats.controls;
  }

  /** Takes a connected socket in. The fd is the server's from now on. */
  accept(fd: number, role: Role): ServedConnection {
    const served = new ServedConnection(this, this.reactor, fd, role);
    this.#seats.arrive(served);
    return served;
  }

  /** Gives a connection that has said VERSION its seat, now or in a moment; `answer` is told why not, or null. */
  admit(served: ServedConnection, answer: (refusal: ServerError | null) => void): void {
    // QEMU's cpr-transfer has both there: the one that holds still, and the one that takes its place.
    const replaces = (): boolean =>
      this.reconnection.policy === 'keep' && this.hold.active && !isRunning(this.migration.state);
    this.#seats.admit(served, answer, replaces);
  }

  /** A client has agreed on how to speak: a VMM's memory can be reached by message from now on. */
  welcomed(served: ServedConnection): void {
    this.log.info(() => `a ${served.role} connection has been accepted`);
    if (this.main !== served || served.agreed === null) return;
    this.reconnection.returned();
    // What the client takes may be more than this server has buffers for.
    const maxPiece = Math.min(served.agreed.send.maxDataXferSize, this.capabilities.maxDataXferSize);
    this.memory.setPort(MessageDmaPort.over(served.connection, served.twin, this.reactor, maxPiece));
  }

  /** A connection is over: what it owned goes with it. */
  left(served: ServedConnection): void {
    this.migration.leave(served);
    this.claims.leave(served);
    this.logging.leave(served);
    if (this.switchover.leave(served)) this.#releaseInterrupts();
    if (this.main !== served) this.#seats.leave(served);
    else this.#mainEnds(served, served.connection.takeHeld());
  }

  /**
   * Changes the migration state for `by`. A device that takes too long keeps its transition, but goes no further, and
   * `by` is told ETIMEDOUT: asking for the state shows where it is.
   */
  setState(target: number, by: ServedConnection): void | Promise<void> {
    const pending = this.migration.set(target, by);
    if (pending === undefined) return;
    return new Promise((resolve, reject) => {
      const timer = this.reactor.after(this.#transitionTimeoutMs, () => {
        this.migration.abandon();
        reject(
          new ServerError('ERR_TRANSITION_TIMEOUT', 'the device does not finish the change of its state'),
        );
      });
      pending.then(resolve, reject).finally(() => timer.close());
    });
  }

  /**
   * Resets the device for `by`, in any state and also in the middle of a transition, which may wait for an answer that
   * the VMM gives only after ours.
   */
  reset(by: ServedConnection, reason: ResetReason = 'device'): void | Promise<void> {
    this.log.info(() => `a reset by the ${by.role} connection (${reason})`);
    this.migration.resetBegins(by);
    this.logging.end();
    // What a VMM has rung before its reset would reach a device that knows nothing of it.
    if (by.role === 'main') this.doorbells.takeRings();
    else this.reconnection.gone();
    const pending = this.#resets.run(reason);
    this.#attendDoorbells();
    return pending;
  }

  /** Tells whoever runs the server. */
  report(error: FerryError): void {
    this.#report(error);
  }

  /** Closes every connection and the device. */
  close(): void {
    this.#closing = true;
    const reason = new TransportError('ERR_CONNECTION_CLOSED', 'the server ends');
    for (const served of this.#seats.all) served.connection.close(reason);
    this.#holdClock.stop();
    this.memory.clear();
    this.device.close();
    this.v1?.section.close();
  }

  #keptDevice(): KeptDevice<ServedConnection> {
    const { device, migration } = this;
    return {
      configuration: () => configurationOf(device),
      state: () => (migration.machine === null ? null : migration.state),
      stop: (by) => this.setState(MigrationState.STOP, by),
      run: (by) => this.setState(MigrationState.RUNNING, by),
      require: (operation, by) => migration.requireMay(operation, by),
      reset: (by) => {
        this.#orphans.discard();
        return this.reset(by);
      },
      configure: (offset, bytes) => device.regions[RegionIndex.CONFIG]?.write(offset, bytes, 0, bytes.length),
      beginHold: () => this.#beginHold(),
      endHold: () => this.#endHold(),
      raiseAgain: () => device.interrupts.raiseAgain(),
    };
  }

  #makeV1(options: V1Options | null): V1Interface<ServedConnection> | null {
    if (options === null || this.migration.machine === null) return null;
    const setState = (target: number, by: ServedConnection): void | Promise<void> =>
      this.setState(target, by);
    try {
      return new V1Interface(this.native, options, this.migration, setState);
    } catch (error) {
      this.device.close();
      throw error;
    }
  }

  /** A device whose state is kept comes to rest while the memory of its VMM is still there; nobody else enters before. */
  #mainEnds(served: ServedConnection, held: readonly HeldMessage[]): void {
    const rest = this.#closing ? undefined : this.reconnection.parted(served);
    if (rest === undefined) this.#mainLeft(served, held);
    else void rest.finally(() => this.#mainLeft(served, held));
  }

  #mainLeft(served: ServedConnection, held: readonly HeldMessage[]): void {
    this.#seats.leave(served);
    this.migration.leave(served);
    this.#orphans.adopt(served, held);
    this.#orphans.adoptRings(served, this.doorbells.takeRings());
    this.doorbells.releaseAll();
    this.logging.end();
    this.memory.clear();
    this.device.disconnected();
    this.eventfds.releaseAll();
    const resets = this.device.resetsOnDisconnect && this.reconnection.view === null;
    if (resets) this.#orphans.adoptReset(() => this.reset(served, 'disconnected'));
    this.#replayOrphans();
  }

  /** The device is about to stop: what has been rung before belongs to the state that is saved. */
  #departs(from: MigrationState, to: MigrationState): void {
    if (isRunning(from) && !isRunning(to)) this.doorbells.carryOut();
  }

  /** The device has changed its state: what follows from that for the main connection. */
  #arc(from: MigrationState, to: MigrationState, by: ServedConnection): void {
    this.log.info(() => `${stateName(from)} to ${stateName(to)}, for the ${by.role} connection`);
    this.v1?.migration.arc(from, to);
    if (by.role === 'control') this.reconnection.moved(to);
    if (to === MigrationState.STOP_COPY || to === MigrationState.RESUMING) this.hold.stateElsewhere = true;
    else if (from === MigrationState.RESUMING || isRunning(to)) this.hold.stateElsewhere = false;
    if (isRunning(to)) {
      this.#releaseInterrupts();
    } else {
      this.device.interrupts.hold();
      if (by.role === 'control') this.#beginHold();
    }
    this.#attendDoorbells();
  }

  /** The control side has asked for RUNNING and got it, perhaps on its way to more: the VMM goes on. */
  #settled(by: ServedConnection, error: unknown): void {
    if (by.role !== 'control' || !mayInitiateDma(this.migration.state)) return;
    if (this.switchover.end()) this.#releaseInterrupts();
    if (error === null || (error instanceof ArcError && error.reached !== error.from)) this.#endHold();
  }

  #beginHold(): boolean {
    if (!this.hold.begin()) return false;
    this.log.info('the device is held');
    this.#holdClock.start();
    return true;
  }

  /** Whatever waits is answered, and so is what comes: accesses with EBUSY, what concerns only the VMM as usual. */
  #expireHold(): void {
    this.hold.expired = true;
    this.#report(heldTooLong());
    this.main?.connection.release();
  }

  #endHold(): void {
    if (!this.hold.end()) return;
    this.log.info('the device is held no more');
    this.#holdClock.stop();
    this.#replayOrphans();
    this.#releaseInterrupts();
    this.main?.connection.release();
    this.#attendDoorbells();
  }

  /** Rings reach a device that runs, and that neither a hold nor a reset keeps from its VMM. */
  #attendDoorbells(): void {
    this.doorbells.listen(isRunning(this.migration.state) && !this.hold.active && !this.#resets.underWay);
  }

  /** A device that does not run interrupts nobody (STOP, linux/vfio.h); one that is held interrupts after the hold. */
  #releaseInterrupts(): void {
    if (!this.hold.active && !this.switchover.withheld) this.device.interrupts.release();
  }

  #replayOrphans(): void {
    if (!this.hold.active && !this.#resets.underWay) this.#orphans.replay();
  }

  #wasReset(): void {
    this.switchover.end();
    this.hold.stateElsewhere = false;
    this.migration.wasReset();
    this.v1?.migration.wasReset();
    this.#releaseInterrupts();
    this.#attendDoorbells();
  }

  #resetFailed(error: FerryError): void {
    this.migration.failed(error);
    this.#attendDoorbells();
  }

  #resetOver(): void {
    this.#replayOrphans();
    this.#attendDoorbells();
  }
}

function configurationOf(device: ServedDevice): Uint8Array {
  const region = device.regions[RegionIndex.CONFIG];
  const bytes = new Uint8Array(region?.size ?? 0);
  region?.read(0, bytes, 0, bytes.length);
  return bytes;
}
