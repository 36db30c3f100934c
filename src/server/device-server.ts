import type { BindableDevice, Log, ResetReason, ServedDevice } from '../device/index.ts';
import type { FerryError } from '../errors/index.ts';
import { AddressSpace } from '../memory/index.ts';
import type { Native } from '../native/index.ts';
import { type Capabilities, DEFAULT_MAX_DATA_XFER_SIZE, OUR_CAPABILITIES } from '../protocol/index.ts';
import { ArcError, isRunning, MigrationState, mayInitiateDma, stateName } from '../states/index.ts';
import { type HeldMessage, type Reactor, TransportError } from '../transport/index.ts';
import { ClaimDesk } from './claim-desk.ts';
import { Claims } from './claims.ts';
import type { DeviceServerOptions } from './device-server-options.ts';
import { DmaLogging } from './dma-logging.ts';
import { Doorbells } from './doorbells.ts';
import { Gates } from './gates.ts';
import { Hold } from './hold.ts';
import { HoldKeeper } from './hold-keeper.ts';
import { IrqEventfds } from './irq-eventfds.ts';
import { keptDevice } from './kept-device.ts';
import { MessageDmaPort } from './message-dma-port.ts';
import { type MigrationListener, MigrationSession } from './migration-session.ts';
import { OrphanedWrites } from './orphaned-writes.ts';
import { Reconnection } from './reconnection.ts';
import { ResetRun } from './reset-run.ts';
import { Seats } from './seats.ts';
import { type Role, ServedConnection } from './served-connection.ts';
import type { ServerError } from './server-error.ts';
import { serverLog } from './server-log.ts';
import { Succession } from './succession.ts';
import { Switchover } from './switchover.ts';
import { withinLimit } from './transition-limit.ts';
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
  /** Tells whoever runs the server. */
  readonly report: (error: FerryError) => void;
  /** How another process goes on where this one stops. */
  readonly succession: Succession;
  /** Takes the socket on which another process asks for the device; null: it is not handed over. May throw FerryError. */
  onHandover: ((by: ServedConnection, fd: number) => void) | null = null;
  readonly #transitionTimeoutMs: number;
  readonly #holds: HoldKeeper;
  readonly #gates: Gates;
  readonly #seats: Seats;
  readonly #orphans: OrphanedWrites;
  readonly #resets: ResetRun;
  #closing = false;

  constructor(device: BindableDevice, options: DeviceServerOptions) {
    const { native, reactor } = options;
    this.native = native;
    this.reactor = reactor;
    const capabilities = options.capabilities ?? OUR_CAPABILITIES;
    this.capabilities = {
      ...capabilities,
      maxDataXferSize: capabilities.maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE,
    };
    const { log, report } = serverLog(options);
    this.log = log;
    this.report = report;
    this.#seats = new Seats(native, reactor);
    this.#transitionTimeoutMs = options.transitionTimeoutMs ?? 10_000;
    const { maxDmaMaps: maxMaps } = capabilities;
    this.memory = new AddressSpace(native, maxMaps === undefined ? {} : { maxMaps });
    this.eventfds = new IrqEventfds(native);
    this.doorbells = new Doorbells({ native, reactor, report });
    this.logging = new DmaLogging(this.memory);
    this.#orphans = new OrphanedWrites(native, report);
    const { memory } = this;
    this.device = device.bind({ native, memory, timers: reactor, mode: reactor.mode, report, log });
    this.#resets = new ResetRun(this.device, {
      done: () => this.#wasReset(),
      failed: (error) => {
        this.migration.failed(error);
        this.#gates.attendDoorbells();
      },
      over: () => {
        this.#gates.replayOrphans();
        this.#gates.attendDoorbells();
      },
    });
    this.switchover = new Switchover(this.memory, this.device.interrupts);
    this.#gates = new Gates({
      ...{ hold: this.hold, resets: this.#resets, switchover: this.switchover, orphans: this.#orphans },
      ...{ doorbells: this.doorbells, interrupts: this.device.interrupts, state: () => this.migration.state },
    });
    this.#holds = new HoldKeeper({
      ...{ hold: this.hold, reactor, log, report },
      limitMs: options.holdLimitMs ?? 4_000,
      main: () => this.main?.connection ?? null,
      over: () => this.#holdOver(),
    });
    const claims = new Claims<ServedConnection>();
    const listener: MigrationListener<ServedConnection> = {
      departs: (from, to) => this.#departs(from, to),
      arc: (from, to, by) => this.#arc(from, to, by),
      settled: (by, error) => this.#settled(by, error),
    };
    this.migration = new MigrationSession(this.device.migration, listener, claims);
    this.claims = new ClaimDesk(claims, this.migration, () => this.#holds.begin());
    this.reconnection = new Reconnection(
      options.onReconnect ?? 'reset',
      keptDevice<ServedConnection>({
        ...{ device: this.device, migration: this.migration, holds: this.#holds, orphans: this.#orphans },
        setState: (target, by) => this.setState(target, by),
        reset: (by) => this.reset(by),
      }),
    );
    this.v1 = this.#makeV1(options.v1 ?? null);
    this.succession = new Succession({
      ...{ server: this, seats: this.#seats, claims, resets: this.#resets },
      stopClock: () => this.#holds.stop(),
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
    if (this.switchover.leave(served)) this.#gates.releaseInterrupts();
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
    return withinLimit(pending, this.reactor, this.#transitionTimeoutMs, () => this.migration.abandon());
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
    this.#gates.attendDoorbells();
    return pending;
  }

  /** Closes every connection and the device. */
  close(): void {
    this.#closing = true;
    const reason = new TransportError('ERR_CONNECTION_CLOSED', 'the server ends');
    for (const served of this.#seats.all) served.connection.close(reason);
    this.#holds.stop();
    this.memory.clear();
    this.device.close();
    this.v1?.section.close();
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
    this.#gates.replayOrphans();
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
      this.#gates.releaseInterrupts();
    } else {
      this.device.interrupts.hold();
      if (by.role === 'control') this.#holds.begin();
    }
    this.#gates.attendDoorbells();
  }

  /** The control side has asked for RUNNING and got it, perhaps on its way to more: the VMM goes on. */
  #settled(by: ServedConnection, error: unknown): void {
    if (by.role !== 'control' || !mayInitiateDma(this.migration.state)) return;
    if (this.switchover.end()) this.#gates.releaseInterrupts();
    if (error === null || (error instanceof ArcError && error.reached !== error.from)) this.#holds.end();
  }

  /** The commands that have waited come after those writes that came before them, and before what has been rung. */
  #holdOver(): void {
    this.#gates.replayOrphans();
    this.#gates.releaseInterrupts();
    this.main?.connection.release();
    this.#gates.attendDoorbells();
  }

  #wasReset(): void {
    this.switchover.end();
    this.hold.stateElsewhere = false;
    this.migration.wasReset();
    this.v1?.migration.wasReset();
    this.#gates.releaseInterrupts();
    this.#gates.attendDoorbells();
  }
}
