import { adoptMaps } from '../memory/index.ts';
import { MigrationState, stateName } from '../states/index.ts';
import { type ConnectionMemory, type ConnectionRemains, TransportError } from '../transport/index.ts';
import type { Claims } from './claims.ts';
import type { DeviceServer } from './device-server.ts';
import type { ResetRun } from './reset-run.ts';
import type { Seats } from './seats.ts';
import { prepareMemory, ServedConnection } from './served-connection.ts';
import type {
  Owned,
  RemainingConnection,
  RemainingInterrupts,
  RemainingLink,
  ServerRemains,
} from './server-remains.ts';
import { serveTwin } from './twin-socket.ts';

/** What the succession of a server works with. */
export interface SuccessionParts {
  readonly server: DeviceServer;
  readonly seats: Seats;
  readonly claims: Claims<ServedConnection>;
  readonly resets: ResetRun;
  readonly stopClock: () => void;
}

/**
 * How one server process goes on where another has stopped, without the clients of the device noticing: what has to be
 * stopped, told, and taken over. Who does what when is the business of whoever hands over; docs/live-upgrade.md.
 */
export class Succession {
  readonly #parts: SuccessionParts;
  #prepared: ConnectionMemory | undefined;

  constructor(parts: SuccessionParts) {
    this.#parts = parts;
  }

  /** Why the device can't be handed over, for as long as things are as they are; null when it can. */
  obstacle(by: ServedConnection): string | null {
    const { device, migration, v1, claims, logging, reconnection, switchover, reactor } = this.#parts.server;
    if (reactor.mode === 'dedicated') return 'it is served on a thread of its own (--dedicated)';
    if (device.handover === undefined || migration.machine === null)
      return 'the device declares no state that another process could go on with';
    if (v1 !== null) return 'it is served with the first migration interface (--migration v1)';
    if (claims.view !== null) return 'a migration has claimed the device';
    if (reconnection.view !== null) return 'its state is kept for a VMM that comes back (ferry reconnect)';
    if (switchover.withheld) return 'its VM is being migrated';
    if (logging.active) return 'DMA is being logged, so a migration is under way';
    if (migration.owner !== null && migration.owner !== by) return 'a controller drives its migration';
    if (migration.state === MigrationState.RUNNING || migration.owner === by) return null;
    return `the device is in ${stateName(migration.state)}; it has to be RUNNING`;
  }

  /** Why the device should not be stopped at this moment; null when it may. */
  unsettled(): string | null {
    const { seats, resets } = this.#parts;
    if (resets.underWay) return 'the device is being reset';
    return seats.unsettled ? 'a VMM waits for the one before to go' : null;
  }

  /** Why a device that has stopped can't be handed over at this moment; null when it can. `by` is the one who asks. */
  unfinished(by: ServedConnection): string | null {
    const { server } = this.#parts;
    const reason = this.unsettled();
    if (reason !== null) return reason;
    if (server.device.inspect().outstandingDma > 0) return 'DMA is under way';
    for (const { connection, twin } of this.#others(by)) {
      const reason = connection.unfinished ?? twin?.unfinished ?? null;
      if (reason !== null) return reason;
    }
    return null;
  }

  /** From now on nothing is received from, or sent to, anybody but `by`. */
  freeze(by: ServedConnection): void {
    for (const { connection, twin } of this.#others(by)) {
      connection.freeze();
      twin?.freeze();
    }
  }

  /** Everybody is served again, after {@link freeze} or {@link adopt}. */
  thaw(): void {
    for (const { connection, twin } of this.#parts.seats.all) {
      twin?.thaw();
      connection.thaw();
    }
  }

  /** How many fds {@link remains} would tell of now, but for those of the author and of messages that have just come. */
  descriptors(by: ServedConnection): number {
    const { memory, device, eventfds, doorbells } = this.#parts.server;
    const connections = this.#others(by).reduce((sum, { twin }) => sum + (twin === null ? 1 : 2), 0);
    const files = new Set(memory.describeMaps().map(({ fd }) => fd)).size;
    const triggers = device.interrupts
      .clientSide()
      .reduce((sum, { index }) => sum + eventfds.count(index), 0);
    const bells = doorbells.given().reduce((sum, given) => sum + given.bells.length + 1, 0);
    return connections + files + triggers + bells + (device.handover?.shared.length ?? 0);
  }

  /**
   * What another process needs, and of the device what was `given`. Of one that has stopped, with everybody frozen but `by`;
   * to be used for nothing else than practice otherwise.
   */
  remains(by: ServedConnection, given: ServerRemains['device']): ServerRemains {
    const { server, claims } = this.#parts;
    const { device } = server;
    return {
      connections: this.#others(by).map((served) => this.#remaining(served)),
      maps: server.memory.describeMaps(),
      interrupts: device.interrupts.clientSide().map(
        (side): RemainingInterrupts => ({
          ...side,
          eventfds: Array.from(side.masked, (_, vector) => server.eventfds.of(side.index, vector)),
        }),
      ),
      doorbells: server.doorbells.given(),
      instance: server.claims.instance,
      resets: server.migration.resets,
      claims: claims.history(),
      onReconnect: server.reconnection.policy,
      device: given,
    };
  }

  /** Makes what {@link adopt} needs for a VMM and what takes its time. */
  prepare(): void {
    this.#prepared = prepareMemory(this.#parts.server);
  }

  /**
   * Takes over everything but the memory of the device, which {@link DeviceHandover.adopt} takes; maps that are there
   * already stay. The device is stopped, and nobody is served before {@link thaw}. Fds are the server's when `owned` has
   * heard of them. Throws what does not suit.
   */
  adopt(remains: ServerRemains, owned: Owned): void {
    const { server, claims } = this.#parts;
    const { device, eventfds, doorbells, memory, native } = server;
    owned(remains.maps.map(({ fd }) => fd));
    adoptMaps(native, memory, remains.maps);
    for (const side of remains.interrupts) {
      owned(side.eventfds);
      const triggers = side.eventfds.map((fd, vector) => eventfds.assign(side.index, vector, fd));
      device.interrupts.adoptClientSide(side, triggers);
    }
    for (const given of remains.doorbells) {
      const region = device.regions[given.region];
      if (region === undefined) throw new TypeError(`there is no region ${given.region}`);
      doorbells.adopt(region, given);
      owned([...given.bells.map(({ eventfd }) => eventfd), given.shadow]);
    }
    claims.adopt(remains.claims);
    server.claims.adoptInstance(remains.instance);
    server.migration.adoptResets(remains.resets);
    server.reconnection.policy = remains.onReconnect;
    for (const connection of remains.connections) this.#takeUp(connection, owned);
  }

  /** Lets go of everything: another process goes on. No client and no code of the author's is told. */
  abandon(): void {
    const { server, seats, stopClock } = this.#parts;
    const { memory, eventfds, doorbells, device } = server;
    stopClock();
    memory.observe(null);
    for (const served of seats.all) {
      served.twin?.abandon();
      served.connection.abandon();
      served.forget();
    }
    doorbells.releaseAll();
    eventfds.releaseAll();
    memory.clear();
    device.close();
  }

  /** All connections but that of the process that hands over or takes over. */
  #others(by: ServedConnection): readonly ServedConnection[] {
    return this.#parts.seats.all.filter(
      (served) => served !== by && served.connection.closedBecause === null,
    );
  }

  #remaining(served: ServedConnection): RemainingConnection {
    const { role, agreed, connection, twin } = served;
    return {
      ...{ role, agreed, fd: connection.fd, link: connection.remains() },
      twin: twin === null ? null : { fd: twin.fd, link: twin.remains() },
      late: this.#parts.claims.isLate(served),
      aborted: this.#parts.server.migration.drivers.isAborted(served),
    };
  }

  #takeUp({ role, agreed, fd, link, twin, late, aborted }: RemainingConnection, owned: Owned): void {
    const { server, seats, claims } = this.#parts;
    owned([fd]);
    const memory = role === 'main' ? this.#prepared : undefined;
    if (memory !== undefined) this.#prepared = undefined;
    const served = new ServedConnection(server, server.reactor, fd, role, link, memory);
    owned(descriptorsOf(link));
    seats.arrive(served);
    if (twin !== null) this.#takeUpTwin(served, twin, owned);
    if (agreed !== null) {
      requireSameLimits(agreed.receive.maxDataXferSize, server.capabilities.maxDataXferSize);
      if (!seats.takeUp(served)) throw new TypeError(`there is no seat for a ${role} connection`);
      served.welcome(agreed);
    }
    if (late) claims.markLate(served);
    if (aborted) server.migration.drivers.markAborted(served);
  }

  #takeUpTwin(served: ServedConnection, { fd, link }: RemainingLink, owned: Owned): void {
    owned([fd]);
    served.twin = serveTwin(served, fd, link);
    owned(descriptorsOf(link));
  }
}

/** The fds that came, or are to go, with messages. */
function descriptorsOf({ unread, unsent }: ConnectionRemains): readonly number[] {
  return [...unread.fdSets, ...unsent.fdMarks].flatMap(({ fds }) => fds);
}

/** A client keeps to the limits that it was told once. */
function requireSameLimits(told: number, ours: number): void {
  if (told <= ours) return;
  const message = `a client was told that ${told} bytes are taken with a message, and here it is ${ours}`;
  throw new TransportError('ERR_MESSAGE_TOO_BIG', message, { told, ours });
}
