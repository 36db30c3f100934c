import { type ConfigWrite, setupWrites } from '../engine/index.ts';
import { Command, deviceGetRegionInfo, type Version, version } from '../protocol/index.ts';
import { MigrationState } from '../states/index.ts';
import type { Backend } from './backend.ts';
import { forgetHalfState, migrationFlags, reset, setState, writeConfiguration } from './backend-calls.ts';
import type { ClientRecord, KnownInfo } from './client-record.ts';
import { DmaReplay } from './dma-replay.ts';
import { IrqReplay } from './irq-replay.ts';
import { ProxyError } from './proxy-error.ts';
import { REGION_INFO_ARGSZ, withoutMapping } from './region-infos.ts';
import { brokenPromise } from './version-limits.ts';

/** The new back end in a swap: it is told all that the client has set up, and runs at the end. */
export class Successor {
  readonly backend: Backend;
  /** Registers of configuration space that were not as they should be. */
  configWrites = 0;
  readonly #record: ClientRecord;
  readonly #maps: DmaReplay;
  readonly #irqs: IrqReplay;
  /** What it has described as the client was told. */
  readonly #described = new Set<KnownInfo>();
  #told = false;

  constructor(backend: Backend, record: ClientRecord) {
    this.backend = backend;
    this.#record = record;
    this.#maps = new DmaReplay(record.dma, backend);
    this.#irqs = new IrqReplay(record.irqs, backend);
  }

  /** Whether it has been told to run. */
  get mayRun(): boolean {
    return this.#told && !this.backend.link.closed;
  }

  /** It gets the client's VERSION, and has to keep what the client was promised. @throws ProxyError */
  async settleVersion(promised: Version): Promise<void> {
    const proposal = this.#record.proposal ?? NOTHING;
    const answer = version.reply.decode(await this.backend.require(Command.VERSION, proposal));
    const broken = brokenPromise(promised, answer);
    if (broken === null) return;
    throw this.#unfit(`can't keep what the client was told: ${broken}`);
  }

  /** It is ready to take a state; `fresh`: it is as after a reset. @throws ProxyError */
  async prepare(fresh: boolean): Promise<void> {
    const migrates = (await migrationFlags(this.backend)) !== 0;
    if (fresh) return this.#renew(migrates);
    if (!migrates) throw this.#unfit('does not offer migration (v2)');
    await forgetHalfState(this.backend);
    await setState(this.backend, MigrationState.RESUMING);
  }

  /** It describes itself as the client was told, as far as it has not been asked. @throws ProxyError */
  async describe(): Promise<void> {
    const asked = [...this.#record.infos.values()].filter((info) => !this.#described.has(info));
    await Promise.all(asked.map((info) => this.#requireSame(info)));
  }

  /** It has what the client has mapped for DMA. @throws ProxyError */
  async map(): Promise<void> {
    await this.#maps.catchUp();
  }

  /** It has the client's interrupts. `maxFds`: so many go into one message. @throws ProxyError */
  async interrupts(maxFds: number): Promise<void> {
    await this.#irqs.catchUp(maxFds);
  }

  /** It proves that it has the whole state, and stands still. @throws ProxyError */
  async finish(): Promise<void> {
    await setState(this.backend, MigrationState.STOP);
  }

  /** Its configuration space, which is `own`, becomes what is `wanted`; null: what is known of it. @throws ProxyError */
  async configure(own: Uint8Array, wanted: Uint8Array | null): Promise<void> {
    const target = wanted ?? this.#record.configuration.over(own);
    if (Buffer.compare(own, target) === 0) return;
    const writes = differing(own, setupWrites(own, target, 0));
    this.configWrites = writes.length;
    await Promise.all(writes.map(({ offset, bytes }) => writeConfiguration(this.backend, offset, bytes)));
  }

  /** It runs. @throws ProxyError */
  async run(): Promise<void> {
    this.#told = true;
    await setState(this.backend, MigrationState.RUNNING);
  }

  /** It stands still, if it can be told. */
  async halt(): Promise<void> {
    await setState(this.backend, MigrationState.STOP).catch(() => {});
  }

  /** A server that served before may have stopped, and still have the state of then. */
  async #renew(migrates: boolean): Promise<void> {
    if (migrates && (await forgetHalfState(this.backend)) !== MigrationState.RUNNING) {
      await setState(this.backend, MigrationState.RUNNING);
    }
    await reset(this.backend);
  }

  async #requireSame(info: KnownInfo): Promise<void> {
    const { command, request, reply } = info;
    const answer = await this.backend.require(command, request);
    const isRegion = command === Command.DEVICE_GET_REGION_INFO;
    const comparable = isRegion ? withoutMapping(answer, REGION_INFO_ARGSZ) : answer;
    if (Buffer.compare(comparable, reply) !== 0) {
      const what = isRegion ? `region ${deviceGetRegionInfo.request.decode(request).index}` : 'the device';
      throw this.#unfit(`describes ${what} in another way than the client was told`);
    }
    this.#described.add(info);
  }

  #unfit(why: string): ProxyError {
    return new ProxyError('ERR_BACKEND', `${this.backend.path} ${why}`);
  }
}

const NOTHING = new Uint8Array(0);

/** Registers that are as they should be are not written: that could have an effect of its own. */
function differing(own: Uint8Array, writes: readonly ConfigWrite[]): readonly ConfigWrite[] {
  return writes.filter(({ offset, bytes }) => bytes.some((byte, i) => own[offset + i] !== byte));
}
