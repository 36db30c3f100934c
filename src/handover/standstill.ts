import type { DeviceHandover } from '../device/index.ts';
import type { DeviceServer, ServedConnection, ServedListener, ServerRemains } from '../server/index.ts';
import { isRunning, MigrationFlag, MigrationState } from '../states/index.ts';
import { HandoverError } from './handover-error.ts';
import type { HandoverLimits } from './limits.ts';
import { type Moment, moment } from './pause.ts';
import { type EncodedRecord, encodeRecord } from './record-encoder.ts';
import { aMoment, busy, untilNothing } from './waiting.ts';

/** How often what has to be quick is practised. */
const TIMES = 5;
const NOTHING_GIVEN = { blocks: [], timers: [], possessions: { data: new Uint8Array(0), fds: [] } };

/** Whose device is brought to rest. */
export interface StandstillParts {
  readonly server: DeviceServer;
  readonly listeners: readonly ServedListener[];
  /** The control connection of the process that asks. */
  readonly by: ServedConnection;
  readonly limits: Required<HandoverLimits>;
}

/** The device that is given away: how it comes to rest with its clients, and how it goes on if it stays. */
export class Standstill {
  readonly #parts: StandstillParts;
  readonly #handover: DeviceHandover;
  /** The device has been told. */
  #begun = false;
  /** Resets of the device when it was {@link settle}d. */
  #resets = 0;
  #stopped: Moment = { at: 0n, cpu: 0n };
  #given: ReturnType<DeviceHandover['give']> | null = null;

  /** Throws HandoverError for a device that knows nothing of hand-overs. */
  constructor(parts: StandstillParts) {
    const { handover } = parts.server.device;
    if (handover === undefined)
      throw refused('the device declares no state that another process could go on with');
    this.#parts = parts;
    this.#handover = handover;
  }

  /** When its clients were served last. */
  get stopped(): Moment {
    return this.#stopped;
  }

  /** Whether the device was reset since it was settled, as a guest does that boots. */
  get wasReset(): boolean {
    return this.#parts.server.migration.resets !== this.#resets;
  }

  /** From now on the device knows; what clients have mapped is left out of its state. */
  begin(): void {
    this.#begun = true;
    this.#handover.begin(this.#handover.shared.map(({ name }) => name));
  }

  /** Waits until nothing is under way that passes by itself, for as long as a device may take to come to rest. */
  async settle(): Promise<void> {
    const { server, by, limits } = this.#parts;
    await untilNothing(server.reactor, () => server.succession.unsettled(), limits.restMs);
    server.migration.report(by);
    this.#resets = server.migration.resets;
  }

  /** Throws HandoverError ERR_HANDOVER_REFUSED when something speaks against it. */
  requireNoObstacle(): void {
    const obstacle = this.#parts.server.succession.obstacle(this.#parts.by);
    if (obstacle !== null) throw refused(obstacle);
  }

  /** Saves, while the device runs, what {@link record} and its state will tell, and throws that away: the code has run then. */
  async practise(): Promise<void> {
    const { server, by } = this.#parts;
    for (let time = 0; time < TIMES; time += 1) {
      this.#handover.practise();
      this.#encode(server.succession.remains(by, NOTHING_GIVEN));
      // Clients are served in between.
      await aMoment(server.reactor);
    }
  }

  /** The device stops; its VMM is served until its DMA has ended, and waits from then on. */
  async stop(): Promise<void> {
    const { server, by, limits } = this.#parts;
    let late = false;
    const timer = server.reactor.after(limits.restMs, () => {
      late = true;
      server.migration.abandon();
    });
    try {
      const quiet = this.#withoutDma();
      if (quiet !== null) await server.setState(quiet, by);
      if (late) throw busy('DMA is under way');
      this.#stopped = moment();
      const stopped = server.setState(MigrationState.STOP_COPY, by);
      if (stopped !== undefined) await stopped;
    } finally {
      timer.close();
    }
    const reason = server.succession.unfinished(by);
    if (reason === null) return;
    await untilNothing(server.reactor, () => server.succession.unfinished(by), limits.frozenMs);
  }

  /** Nobody is served any more. To the end of the hand-over nothing of the device is touched here but by {@link goOn}. */
  freeze(): void {
    const { server, by, listeners } = this.#parts;
    for (const { listener } of listeners) listener.pause();
    server.succession.freeze(by);
    const reason = server.succession.unfinished(by);
    if (reason !== null) throw busy(reason);
  }

  /** All that is not in the state of the device; it is frozen. */
  record(): EncodedRecord {
    const { server, by } = this.#parts;
    this.#given = this.#handover.give();
    return this.#encode(server.succession.remains(by, this.#given));
  }

  /** The device goes on here, wherever it was on its way. Rejects with why it can't. */
  async goOn(): Promise<void> {
    const { server, by, limits, listeners } = this.#parts;
    if (!this.#begun) return;
    this.#handover.end();
    if (this.#given !== null) this.#handover.adopt([], this.#given.timers);
    this.#given = null;
    // A change of state that was given up ends soon; nothing else can be asked for before.
    const until = performance.now() + limits.answerMs;
    while (server.migration.inTransition && performance.now() < until) await aMoment(server.reactor);
    const { state, owner } = server.migration;
    server.migration.report(by);
    const mine = owner === by || (owner === null && !isRunning(state));
    if (state !== MigrationState.RUNNING && mine) await server.setState(MigrationState.RUNNING, by);
    server.succession.thaw();
    for (const { listener } of listeners) listener.resume();
  }

  /** Another process has the device: lets go of everything. */
  leave(): void {
    const { server, listeners } = this.#parts;
    for (const { listener } of listeners) listener.release();
    server.succession.abandon();
  }

  #encode(server: ServerRemains): EncodedRecord {
    const listeners = this.#parts.listeners.map(({ role, listener: { fd, path } }) => ({ role, fd, path }));
    return encodeRecord({ listeners, server });
  }

  /** The state in which DMA ends while the device is served; null where there is none. */
  #withoutDma(): MigrationState | null {
    const { device, migration } = this.#parts.server;
    if ((device.migration.flags & MigrationFlag.P2P) === 0) return null;
    return migration.state === MigrationState.PRE_COPY
      ? MigrationState.PRE_COPY_P2P
      : MigrationState.RUNNING_P2P;
  }
}

function refused(why: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_REFUSED', why);
}
