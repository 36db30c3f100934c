import type { BindableDevice, ServedDevice } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import { AddressSpace } from '../memory/index.ts';
import type { Native } from '../native/index.ts';
import {
  type Capabilities,
  Command,
  DEFAULT_MAX_DATA_XFER_SIZE,
  OUR_CAPABILITIES,
} from '../protocol/index.ts';
import { isRunning, MigrationState } from '../states/index.ts';
import { type Closeable, IncomingMessage, type Reactor, TransportError } from '../transport/index.ts';
import { DmaLogging } from './dma-logging.ts';
import { handlerFor } from './handlers/index.ts';
import { Hold } from './hold.ts';
import { IrqEventfds } from './irq-eventfds.ts';
import { MessageDmaPort } from './message-dma-port.ts';
import { MigrationSession } from './migration-session.ts';
import { type Role, ServedConnection } from './served-connection.ts';
import { ServerError } from './server-error.ts';

/** How a device is served; what is left out has a default. */
export interface DeviceServerOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** What is offered in VERSION. */
  readonly capabilities?: Capabilities;
  /** How long a command that wants a reply may wait in a hold, in milliseconds; 4000 by default (a VMM's limit is 5 s). */
  readonly holdLimitMs?: number;
  /** How long one change of the migration state may take, in milliseconds; 10000 by default. */
  readonly transitionTimeoutMs?: number;
  /** Takes errors that no client can be told. Default: nobody. */
  readonly report?: (error: FerryError) => void;
}

/** Control connections at once. */
const MAX_CONTROLS = 8;
/** How long a second VMM is kept waiting for the first to go, in milliseconds: it may be the same one, reconnecting. */
const TURN_TIMEOUT_MS = 250;

/** How often a hold looks whether a command has waited too long, in milliseconds. */
const HOLD_CLOCK_MS = 50;

/** A write that a VMM posted before it went away, waiting for the end of the hold. */
interface Orphan {
  readonly from: ServedConnection;
  readonly bytes: Uint8Array;
}

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
  readonly migration: MigrationSession<ServedConnection>;
  readonly logging: DmaLogging<ServedConnection>;
  readonly hold = new Hold();
  readonly #transitionTimeoutMs: number;
  readonly #holdLimitMs: number;
  readonly #report: (error: FerryError) => void;
  readonly #controls = new Set<ServedConnection>();
  readonly #waiting = new Set<ServedConnection>();
  #main: ServedConnection | null = null;
  #orphans: Orphan[] = [];
  #holdClock: Closeable | null = null;

  constructor(device: BindableDevice, options: DeviceServerOptions) {
    this.native = options.native;
    this.reactor = options.reactor;
    const capabilities = options.capabilities ?? OUR_CAPABILITIES;
    this.capabilities = {
      ...capabilities,
      maxDataXferSize: capabilities.maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE,
    };
    this.#report = options.report ?? (() => {});
    this.#holdLimitMs = options.holdLimitMs ?? 4_000;
    this.#transitionTimeoutMs = options.transitionTimeoutMs ?? 10_000;
    this.memory = new AddressSpace(options.native);
    this.eventfds = new IrqEventfds(options.native);
    this.logging = new DmaLogging(this.memory);
    this.device = device.bind({
      native: options.native,
      memory: this.memory,
      timers: options.reactor,
      mode: options.reactor.mode,
      report: this.#report,
    });
    this.migration = new MigrationSession(this.device.migration, (from, to, by) => this.#arc(from, to, by));
  }

  /** The VMM's connection, or null. */
  get main(): ServedConnection | null {
    return this.#main;
  }

  /** How many control connections there are. */
  get controls(): number {
    return this.#controls.size;
  }

  /** Takes a connected socket in. The fd is the server's from now on. */
  accept(fd: number, role: Role): ServedConnection {
    const served = new ServedConnection(this, this.reactor, fd, role);
    this.#waiting.add(served);
    return served;
  }

  /**
   * Gives a connection that has said VERSION its place. Answers at once, except for a second VMM: that waits a moment
   * for the first to go, because a reconnecting VMM must not be locked out by its own past.
   */
  admit(served: ServedConnection, answer: (refusal: ServerError | null) => void): void {
    if (this.#enter(served)) return answer(null);
    if (served.role === 'control') return answer(tooMany());
    served.connection.hold();
    const giveUpAt = performance.now() + TURN_TIMEOUT_MS;
    const retry = this.reactor.every(5, () => {
      if (served.connection.closedBecause !== null) return retry.close();
      const entered = this.#enter(served);
      if (!entered && performance.now() < giveUpAt) return;
      retry.close();
      answer(entered ? null : occupied());
      served.connection.release();
    });
  }

  /** A client has agreed on how to speak: a VMM's memory can be reached by message from now on. */
  welcomed(served: ServedConnection): void {
    if (this.#main !== served || served.agreed === null) return;
    this.memory.setPort(
      new MessageDmaPort(served.twin ?? served.connection, served.agreed.send.maxDataXferSize),
    );
  }

  /** A connection is over: what it owned goes with it. */
  left(served: ServedConnection): void {
    this.#waiting.delete(served);
    this.#controls.delete(served);
    this.migration.leave(served);
    this.logging.leave(served);
    if (this.#main === served) this.#mainLeft(served);
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

  /** The control side has asked for RUNNING and got it: the VMM goes on where it was stopped. */
  endHold(): void {
    if (!this.hold.end()) return;
    this.#holdClock?.close();
    for (const orphan of this.#orphans.splice(0)) this.#replay(orphan);
    this.device.interrupts.release();
    this.#main?.connection.release();
  }

  /** Resets the device for `by`, in any state. */
  reset(by: ServedConnection): void | Promise<void> {
    const { busy } = this.migration;
    if (busy !== null) return busy.then(() => this.reset(by));
    this.logging.end();
    const pending = this.#try(() => this.device.reset());
    if (pending === undefined) return this.#wasReset(by);
    return pending.then(
      () => this.#wasReset(by),
      (error: unknown) => this.#resetFailed(error),
    );
  }

  /** Tells whoever runs the server. */
  report(error: FerryError): void {
    this.#report(error);
  }

  /** Closes every connection and the device. */
  close(): void {
    const reason = new TransportError('ERR_CONNECTION_CLOSED', 'the server ends');
    for (const served of [...this.#waiting, ...this.#controls]) served.connection.close(reason);
    this.#main?.connection.close(reason);
    this.#holdClock?.close();
    this.memory.clear();
    this.device.close();
  }

  #enter(served: ServedConnection): boolean {
    if (served.role === 'control') {
      if (this.#controls.size >= MAX_CONTROLS) return false;
      this.#controls.add(served);
    } else {
      if (this.#main !== null) return false;
      this.#main = served;
    }
    this.#waiting.delete(served);
    return true;
  }

  #mainLeft(served: ServedConnection): void {
    this.#main = null;
    for (const { bytes, fds } of served.connection.takeHeld()) {
      for (const fd of fds) this.native.close(fd);
      if (isWrite(bytes)) this.#orphans.push({ from: served, bytes });
    }
    this.logging.end();
    this.device.disconnected();
    this.eventfds.releaseAll();
    this.memory.clear();
  }

  /** The device has changed its state: what follows from that for the main connection. */
  #arc(from: MigrationState, to: MigrationState, by: ServedConnection): void {
    if (to === MigrationState.STOP_COPY || to === MigrationState.RESUMING) this.hold.stateElsewhere = true;
    if (from === MigrationState.RESUMING) this.hold.stateElsewhere = false;
    if (by.role === 'control' && isRunning(from) && !isRunning(to)) this.#beginHold();
  }

  #beginHold(): void {
    if (!this.hold.begin()) return;
    this.device.interrupts.hold();
    this.#holdClock?.close();
    this.#holdClock = this.reactor.every(HOLD_CLOCK_MS, () => this.#checkHold());
  }

  #checkHold(): void {
    const since = this.#main?.connection.heldSince ?? null;
    if (since !== null && performance.now() - since > this.#holdLimitMs) this.#expireHold();
  }

  #expireHold(): void {
    this.#holdClock?.close();
    this.hold.expired = true;
    const dropped = this.#main?.connection.refuseHeld(holdExpired().errno) ?? 0;
    this.hold.droppedWrites += dropped;
    this.#report(holdExpired());
    // Whatever else the VMM sends is answered: its accesses with EBUSY, and what concerns only itself as usual.
    this.#main?.connection.release();
  }

  #replay(orphan: Orphan): void {
    const message = new IncomingMessage();
    const { bytes } = orphan;
    message.point(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length, []);
    try {
      handlerFor('main', message.command)(orphan.from, message);
    } catch (error) {
      if (error instanceof FerryError) this.#report(error);
      else throw error;
    }
  }

  #try(reset: () => void | Promise<void>): void | Promise<void> {
    try {
      return reset();
    } catch (error) {
      return this.#resetFailed(error);
    }
  }

  #wasReset(by: ServedConnection): void {
    this.migration.wasReset(by);
  }

  #resetFailed(error: unknown): never {
    const failure = error instanceof FerryError ? error : resetThrew(error);
    this.migration.failed(failure);
    throw failure;
  }
}

/** Whether a whole message is a write to a region. */
function isWrite(bytes: Uint8Array): boolean {
  const message = new IncomingMessage();
  message.point(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length, []);
  return message.command === Command.REGION_WRITE || message.command === Command.REGION_WRITE_MULTI;
}

function occupied(): ServerError {
  return new ServerError('ERR_BUSY', 'another VMM uses this device');
}

function tooMany(): ServerError {
  return new ServerError('ERR_BUSY', `there are ${MAX_CONTROLS} control connections already`);
}

function holdExpired(): ServerError {
  return new ServerError('ERR_BUSY', 'the device is being moved and was held for longer than a VMM waits');
}

function resetThrew(error: unknown): ServerError {
  const text = error instanceof Error ? error.message : String(error);
  return new ServerError('ERR_WRONG_STATE', `the device could not be reset: ${text}`, {}, { cause: error });
}
