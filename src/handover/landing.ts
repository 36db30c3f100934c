import type { FerryError } from '../errors/index.ts';
import { adoptMaps, DmaError } from '../memory/index.ts';
import { check } from '../native/index.ts';
import { negotiate, OUR_CAPABILITIES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../protocol/index.ts';
import {
  acceptOrReport,
  type DeviceServer,
  type Owned,
  type ServedConnection,
  type ServedListener,
} from '../server/index.ts';
import { MigrationState } from '../states/index.ts';
import { listenOn } from '../transport/index.ts';
import { collected } from './collector.ts';
import { FdTable } from './fd-table.ts';
import { asFerryError } from './handover-error.ts';
import { decodeMaps } from './map-entries.ts';
import type { HandoverRecord, RemainingListener } from './record.ts';

/** The server that takes a device over: how the device is loaded, set up with its clients, and set going. */
export class Landing {
  readonly #server: DeviceServer;
  readonly #report: (error: FerryError) => void;
  /** In whose name the state is loaded. */
  readonly #self: ServedConnection;
  /** The other end of its connection. */
  readonly #spare: number;
  #listeners: ServedListener[] = [];

  /** `report` takes errors of the listeners, and of the device when it runs. Throws NativeError. */
  constructor(server: DeviceServer, report: (error: FerryError) => void) {
    this.#server = server;
    this.#report = report;
    const pair = new Int32Array(2);
    check(server.native.socketpair(pair), 'socketpair');
    const [own = -1, spare = -1] = pair;
    this.#spare = spare;
    this.#self = server.accept(own, 'control');
    const version = { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, capabilities: OUR_CAPABILITIES };
    this.#self.welcome(negotiate(version, OUR_CAPABILITIES).agreed);
  }

  /** The sockets that it listens on, once the device is its own. */
  get listeners(): readonly ServedListener[] {
    return this.#listeners;
  }

  /** Begins, or begins anew, to load the state without the blocks of these names. Throws what does not suit. */
  async begin(lent: readonly string[]): Promise<void> {
    const server = this.#server;
    if (server.migration.state !== MigrationState.RUNNING) await server.reset(this.#self);
    server.device.handover?.begin(lent);
    await server.setState(MigrationState.RESUMING, this.#self);
    server.succession.prepare();
  }

  /**
   * Makes maps that will be needed, while the device still runs elsewhere; takes what MAPS has brought. Throws
   * HandoverError for what makes no sense.
   */
  async prepare(body: Uint8Array, fds: readonly number[]): Promise<void> {
    const { native, memory, reactor } = this.#server;
    try {
      adoptMaps(native, memory, decodeMaps(body, new FdTable(native, fds)));
      await collected(reactor);
    } catch (error) {
      // The record has them again: what is wrong with them is told then.
      if (!(error instanceof DmaError)) throw error;
    }
  }

  /** Takes bytes of the state. Throws what does not suit. */
  write(data: Uint8Array): void {
    this.#server.migration.write(data, this.#self);
  }

  /** Takes the memory that clients have mapped, and timers, before the rest of the state is read. */
  adoptBlocks({ server: { device } }: HandoverRecord): void {
    this.#server.device.handover?.adopt(device.blocks, device.timers);
  }

  /** The state is all here: the device takes it, and stands still. */
  load(): void | Promise<void> {
    return this.#server.setState(MigrationState.STOP, this.#self);
  }

  /**
   * Makes everything that can be made before the device is ours. Fds are the server's when `owned` has heard of them.
   * Throws what does not suit.
   */
  settle({ server: remains, listeners }: HandoverRecord, owned: Owned): void {
    const server = this.#server;
    const { possessions } = remains.device;
    owned(possessions.fds);
    server.device.handover?.take(possessions);
    server.succession.adopt(remains, owned);
    for (const listener of listeners) {
      owned([listener.fd]);
      this.#listenOn(listener);
    }
  }

  /**
   * The device is ours: it runs, and everybody is served. There is no way back any more: a device that does not run is
   * still this process's, which says so.
   */
  run(): void | Promise<void> {
    const server = this.#server;
    server.device.handover?.end();
    const failed = (error: unknown): void => this.#report(asFerryError(error, 'taken over'));
    const serve = (): void => server.succession.thaw();
    try {
      const running = server.setState(MigrationState.RUNNING, this.#self);
      if (running !== undefined) return running.catch(failed).then(serve);
    } catch (error) {
      failed(error);
    }
    serve();
  }

  /** The hand-over is over: others may connect, and what it alone has needed goes. */
  finish(): void {
    for (const { listener } of this.#listeners) listener.resume();
    this.#self.connection.close();
    this.#server.native.close(this.#spare);
  }

  /** The device stays where it is: lets go of everything, and touches nothing that belongs to it. */
  leave(): void {
    for (const { listener } of this.#listeners) listener.release();
    this.#server.succession.abandon();
    this.#server.native.close(this.#spare);
  }

  #listenOn({ role, fd, path }: RemainingListener): void {
    const server = this.#server;
    const { native, reactor } = server;
    const accepted = (connected: number): void => acceptOrReport(server, connected, role);
    const paused = { paused: true, blocking: path === null };
    this.#listeners.push({ role, listener: listenOn({ native, reactor, fd, path, accepted, ...paused }) });
  }
}
