import {
  type ClientOptions,
  DeviceClient,
  GuestMemory,
  type GuestRegion,
  SyncDeviceClient,
} from '../../src/client/index.ts';
import { FerryError } from '../../src/errors/index.ts';
import type { Native } from '../../src/native/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import type { FuzzRun } from '../helpers/fuzz-run.ts';
import type { Random } from '../server/fuzz-messages.ts';
import { native, paired } from './fake-server.ts';
import { calls } from './fuzz-calls.ts';
import { FuzzServer } from './fuzz-server.ts';
import { TurnReactor } from './turn-reactor.ts';

/** Calls that a client has under way at once, and that it makes on one connection. */
const AT_ONCE = 24;
const CALLS = 400;
/** Clients on the event loop at once: most wait for an answer that never comes. */
const CLIENTS = 32;
/** A time-out on the event loop; where time is ours, any will do. */
const LOOP_TIMEOUT_MS = 15;
const TURN_TIMEOUT_MS = 0.01;

/** One client's way to a server, and memory that it has. */
interface Parties {
  readonly face: Native;
  readonly server: FuzzServer;
  readonly memory: GuestMemory;
  readonly region: GuestRegion;
}

/** How something is waited for. */
type Wait = <T>(all: Promise<T>) => Promise<T>;

/** Clients of servers that answer nearly right. Each way of having them gives how many messages the servers have sent. */
export class ClientWorld {
  /** Calls that had a result. */
  answered = 0;
  readonly #run: FuzzRun;
  readonly #random: Random;

  constructor(run: FuzzRun, random: Random) {
    this.#run = run;
    this.#random = random;
  }

  /** One client that blocks its thread. */
  blocking(): number {
    const { face, server, memory, region } = this.#parties();
    const reactor = new TurnReactor(native, () => server.work());
    const options = { ...this.#options(TURN_TIMEOUT_MS), native: face, reactor };
    const client = this.#try(() => SyncDeviceClient.connect('fuzz', options));
    for (let called = 0; client !== null && called < CALLS && client.closedBecause === null; called += 1)
      this.#try(() => this.#random.pick(calls)(client, this.#random, region));
    client?.close();
    server.close();
    memory.close();
    return server.sent;
  }

  /** One client of promises that does many things at once; it and the server take turns. */
  promising(): Promise<number> {
    const parties = this.#parties();
    const reactor = new TurnReactor(native, () => parties.server.work());
    return this.#converse(parties, { reactor, timeoutMs: TURN_TIMEOUT_MS }, (all) => takeTurns(reactor, all));
  }

  /** Several of those on the event loop, as programs have them. */
  async onEventLoop(): Promise<number> {
    const sent = await Promise.all(Array.from({ length: CLIENTS }, () => this.#onEventLoop()));
    return sent.reduce((sum, one) => sum + one, 0);
  }

  #onEventLoop(): Promise<number> {
    const parties = this.#parties();
    const { server } = parties;
    const reactor = new EventLoopReactor(native);
    const watch = reactor.watch(server.fd, () => server.work());
    server.onClose = () => watch.close();
    return this.#converse(parties, { reactor, timeoutMs: LOOP_TIMEOUT_MS }, (all) => all);
  }

  async #converse(parties: Parties, options: ClientOptions, wait: Wait): Promise<number> {
    const { face, server, memory, region } = parties;
    const connecting = { ...this.#options(LOOP_TIMEOUT_MS), ...options, native: face };
    const client = await wait(this.#attempt(() => DeviceClient.connect('fuzz', connecting)));
    for (
      let called = 0;
      client !== null && called < CALLS && client.closedBecause === null;
      called += AT_ONCE
    ) {
      const batch = Array.from({ length: AT_ONCE }, () => this.#random.pick(calls));
      await wait(
        Promise.all(batch.map((call) => this.#attempt(async () => call(client, this.#random, region)))),
      );
    }
    client?.close();
    server.close();
    memory.close();
    return server.sent;
  }

  #parties(): Parties {
    const { face, peer } = paired();
    const memory = new GuestMemory(native);
    const server = new FuzzServer(peer, this.#random, this.#run.pool);
    return { face, server, memory, region: memory.add({ iova: 0x10_0000n, size: 65_536 }) };
  }

  #options(timeoutMs: number) {
    return {
      timeoutMs,
      twinSocket: this.#random.once(4),
      // Buffers follow from it, and most connections are short.
      capabilities: this.#random.once(8) ? {} : { maxDataXferSize: 65_536 },
    };
  }

  /** What a call gives, null if it fails; only errors of Ferry may be told. */
  #try<T>(run: () => T): T | null {
    try {
      return this.#counted(run());
    } catch (error) {
      return this.#judged(error);
    }
  }

  async #attempt<T>(run: () => Promise<T>): Promise<T | null> {
    try {
      return this.#counted(await run());
    } catch (error) {
      return this.#judged(error);
    }
  }

  #counted<T>(result: T): T {
    this.answered += 1;
    return result;
  }

  #judged(error: unknown): null {
    if (!(error instanceof FerryError)) this.#run.bug('a client threw', error);
    return null;
  }
}

/** Waits for promises whose client shares the thread with its server, without waiting for any clock. */
async function takeTurns<T>(reactor: TurnReactor, all: Promise<T>): Promise<T> {
  let open = true;
  const over = (): void => {
    open = false;
  };
  all.then(over, over);
  while (open) {
    if (reactor.step()) {
      await null;
      continue;
    }
    // Whoever waits for a promise only has had its turn after this.
    await new Promise((resolve) => setImmediate(resolve));
    if (open && !reactor.step()) reactor.expire();
  }
  return all;
}
