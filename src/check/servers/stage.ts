import { Errno } from '../../errors/index.ts';
import type { Native } from '../../native/index.ts';
import { Command, DeviceInfoFlag } from '../../protocol/index.ts';
import { MigrationFlag, MigrationState } from '../../states/index.ts';
import { Exchange } from '../exchange.ts';
import type { Need, RuleFacts } from '../rule.ts';
import type { Stage, Trial } from '../run-rules.ts';
import { inconclusive, notApplicable } from '../verdict.ts';
import { fields, versionPayload } from '../wire/bytes.ts';
import type { Wire } from '../wire/wire.ts';
import { failed, getState, trySetState } from './ask.ts';
import { type Facts, gatherFacts, PROPOSAL } from './facts.ts';
import { type Instance, type Launcher, unaccepted } from './instance.ts';
import { knownDevice } from './known-devices.ts';
import { ServerWorld } from './world.ts';

/** What a {@link ServerStage} has to know. */
export interface ServerStageOptions {
  readonly native: Native;
  readonly launcher: Launcher;
  /** How long each wait may take, milliseconds. */
  readonly timeoutMs: number;
  readonly seed: number;
  /** How long a client that says nothing may keep others out, milliseconds. */
  readonly silenceMs: number;
  /** How much is repeated of what is repeated, as a share of the usual: 1. */
  readonly effort: number;
}

/** What is missing for each need that depends on the device. */
const MISSING: Readonly<Partial<Record<Need, (facts: Facts) => string | null>>> = {
  migration: ({ migrationFlags: flags }) =>
    flags === null ? 'the device has no migration: DEVICE_FEATURE MIGRATION is refused' : null,
  precopy: ({ migrationFlags: flags }) => lacks(flags, MigrationFlag.PRE_COPY, 'PRE_COPY'),
  p2p: ({ migrationFlags: flags }) => lacks(flags, MigrationFlag.P2P, 'P2P states'),
  logging: ({ logging }) => (logging ? null : 'the device has no DMA logging: a probe is refused'),
  dma: ({ identity }) =>
    knownDevice(identity)?.edu === true ? null : 'nothing is known of how this device is made to do DMA',
};

function lacks(flags: number | null, flag: number, what: string): string | null {
  return flags === null || (flags & flag) === 0 ? `the device has no ${what}` : null;
}

/**
 * Where rules for servers are tried. One instance serves rule after rule, for as long as it is as good as new; where
 * instances can be started, one that a rule has broken is replaced.
 */
export class ServerStage implements Stage<ServerWorld> {
  readonly #options: ServerStageOptions;
  #instance: Instance | null = null;
  #facts: Facts | null = null;
  #oneClient = false;
  #log = '';

  constructor(options: ServerStageOptions) {
    this.#options = options;
  }

  /** Whether the server serves no other client when its first one has gone, so that each rule has a fresh one. */
  get oneClient(): boolean {
    return this.#oneClient;
  }

  /** What the server says of itself; null before {@link prepare}, and when it could not be asked. */
  get facts(): Facts | null {
    return this.#facts;
  }

  /**
   * Starts the first server, and asks it what it is. When that does not work, the rules about it will tell why. Throws
   * InconclusiveError when there is no server.
   */
  async prepare(): Promise<void> {
    this.#facts = await this.#asked(await this.#launched());
    // So much depends on the answers that one that was late must not decide.
    if (this.#facts === null) {
      await this.#drop();
      this.#facts = await this.#asked(await this.#launched());
    }
    if (this.#options.launcher.fresh) this.#oneClient = await this.#servesOne();
    else if (this.#facts === null) await this.#requireFree();
  }

  /** A server that answered its first client and has ended, or does not accept another. */
  async #servesOne(): Promise<boolean> {
    const instance = this.#instance;
    if (instance === null) return false;
    if ((await instance.ended()) !== null) return true;
    if (this.#facts === null || (await this.#problemOf(instance)) === null) return false;
    return unaccepted(instance.socketPath) > 0;
  }

  /** There is nothing to try on a server that is somebody else's, or stands still. */
  async #requireFree(): Promise<void> {
    const path = this.#instance?.socketPath ?? '';
    const waiting = unaccepted(path);
    if (waiting > 0) {
      inconclusive(
        `${path} is listened on, but nobody accepts connections (${waiting} wait): the server serves another client, is ` +
          `stopped or hangs; more is told by: ferry doctor ${path}`,
      );
    }
    if (await this.#isBusy())
      inconclusive(
        `the server of ${path} has another client (EBUSY), which has to go before it can be checked`,
      );
  }

  async #isBusy(): Promise<boolean> {
    const instance = this.#instance;
    if (instance === null) return false;
    const world = this.#worldOn(instance, new Exchange());
    try {
      const wire = await world.connect();
      const reply = await wire.request(Command.VERSION, versionPayload(PROPOSAL));
      return failed(reply) && reply.header.error === Errno.EBUSY;
    } catch {
      // Whatever it does instead, the rules tell of it.
      return false;
    } finally {
      await world.end();
    }
  }

  async #asked(instance: Instance): Promise<Facts | null> {
    const world = this.#worldOn(instance, new Exchange());
    try {
      const wire = await world.connect();
      return await gatherFacts(wire).catch(() => null);
    } finally {
      await world.end();
    }
  }

  async begin(rule: RuleFacts): Promise<Trial<ServerWorld>> {
    this.#require(rule.needs);
    const instance = await this.#ready(rule);
    this.#log = '';
    instance.takeLog();
    const exchange = new Exchange();
    const world = this.#worldOn(instance, exchange);
    return {
      world,
      exchange: async () => {
        const how = world.lost ? await instance.ended() : null;
        if (how !== null) exchange.event('server', `its process has ended: ${how}`);
        return exchange.shown;
      },
      log: () => {
        this.#log += instance.takeLog();
        return this.#log;
      },
      end: async ({ outcome }) => {
        await world.end();
        if (outcome !== 'passed' && this.#options.launcher.fresh) await this.#drop();
      },
    };
  }

  /** Ends what was started. */
  async close(): Promise<void> {
    await this.#drop();
  }

  #require(needs: readonly Need[]): void {
    const { launcher } = this.#options;
    if (!launcher.fresh && (needs.includes('spawn') || needs.includes('second'))) {
      notApplicable('it needs instances of its own (--spawn)');
    }
    if (needs.includes('process') && this.#instance !== null && this.#instance.pid === null) {
      notApplicable("it needs the server's process (--spawn)");
    }
    for (const need of needs) {
      const missing = MISSING[need];
      if (missing === undefined) continue;
      const reason = missing(this.#facts ?? inconclusive('the server could not be asked what it is'));
      if (reason !== null) notApplicable(reason);
    }
  }

  /** An instance on which a rule can begin: it takes a connection, and the device runs. */
  async #ready({ area }: RuleFacts): Promise<Instance> {
    if (this.#oneClient) {
      await this.#drop();
      return this.#launched();
    }
    const instance = this.#instance ?? (await this.#launched());
    // Rules on the first words need nothing more than a socket.
    if (area === 'negotiation' && this.#facts === null) return instance;
    const problem = await this.#problemOf(instance);
    if (problem === null) return instance;
    if (!this.#options.launcher.fresh) inconclusive(problem);
    await this.#drop();
    const another = await this.#launched();
    const worse = await this.#problemOf(another);
    return worse === null ? another : inconclusive(`a fresh server does not work: ${worse}`);
  }

  async #problemOf(instance: Instance): Promise<string | null> {
    const world = this.#worldOn(instance, new Exchange());
    try {
      const wire = await world.open();
      return this.#facts?.migrationFlags == null ? null : await this.#bringBack(wire);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      await world.end();
    }
  }

  /** The device as a rule expects it: RUNNING. A server that is not ours to stop is only looked at. */
  async #bringBack(wire: Wire): Promise<string | null> {
    const { RUNNING } = MigrationState;
    if ((await getState(wire)) === RUNNING) return null;
    if (!this.#options.launcher.fresh) return 'the device is not RUNNING';
    await trySetState(wire, RUNNING);
    if ((await getState(wire)) === RUNNING) return null;
    if (((this.#facts?.deviceFlags ?? 0) & DeviceInfoFlag.RESET) !== 0)
      await wire.request(Command.DEVICE_RESET, fields());
    return (await getState(wire)) === RUNNING ? null : 'the device does not come back to RUNNING';
  }

  #worldOn(instance: Instance, exchange: Exchange): ServerWorld {
    return new ServerWorld({
      ...this.#options,
      ...{ instance, exchange, facts: this.#facts, oneClient: this.#oneClient, name: '' },
    });
  }

  async #launched(): Promise<Instance> {
    this.#instance = await this.#options.launcher.launch();
    return this.#instance;
  }

  async #drop(): Promise<void> {
    const instance = this.#instance;
    this.#instance = null;
    await instance?.stop();
  }
}
