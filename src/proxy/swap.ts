import { type ConfigWrite, setupWrites } from '../engine/index.ts';
import { Errno, FerryError } from '../errors/index.ts';
import { Command, deviceGetRegionInfo, RegionIndex, type Version, version } from '../protocol/index.ts';
import { isRunning, MigrationState, parseState } from '../states/index.ts';
import type { Backend } from './backend.ts';
import {
  canMigrate,
  copyState,
  readConfiguration,
  setState,
  stateOf,
  transferLimit,
  writeConfiguration,
} from './backend-calls.ts';
import { ProxyError } from './proxy-error.ts';
import { REGION_INFO_ARGSZ, withoutMapping } from './region-infos.ts';
import type { Session } from './session.ts';
import { brokenPromise } from './version-limits.ts';

/** The steps of a swap, in order. Before `drain` the client notices nothing; a failure before `run` is undone. */
export const SWAP_STEPS = [
  'connect',
  'version',
  'prepare',
  'describe',
  'drain',
  'read configuration',
  'stop',
  'map',
  'copy',
  'interrupts',
  'finish',
  'configure',
  'run',
] as const;

/** One of {@link SWAP_STEPS}. */
export type SwapStep = (typeof SWAP_STEPS)[number];

/** What is swapped, and how. */
export interface SwapOptions {
  /** Socket of the new back end. */
  readonly path: string;
  /** Begin with the new back end as it is, without the state of the old one. */
  readonly fresh: boolean;
  /** How long the client's commands may wait, in milliseconds. */
  readonly holdLimitMs: number;
  /** Connects to a back end whose messages go to the session. */
  readonly connect: (path: string) => Backend;
}

/** How a swap went. */
export interface SwapReport {
  readonly from: string;
  readonly to: string;
  /** Bytes of device state that were carried over; null when it began afresh. */
  readonly stateBytes: number | null;
  /** How long the client's commands waited, and the whole swap, in milliseconds. */
  readonly heldMs: number;
  readonly totalMs: number;
  /** How long each step took, in milliseconds. */
  readonly steps: Readonly<Partial<Record<SwapStep, number>>>;
  readonly dmaMaps: number;
  readonly vectors: number;
  readonly configWrites: number;
  /** What is not at the new back end, in words. */
  readonly lost: readonly string[];
}

/** The client's commands wait for so long at most before the old back end has stopped, in milliseconds. */
const DRAIN_MS = 1000;

/**
 * Puts another back end in the place of a session's present one. At each moment at most one of them may run: the new one
 * is told to run when the old one has said that it has stopped, and the old one is told to go on when the connection to
 * the new one has been closed.
 */
export class Swap {
  readonly #session: Session;
  readonly #options: SwapOptions;
  readonly #steps: Partial<Record<SwapStep, number>> = {};
  readonly #begunAt = performance.now();
  #step: SwapStep = 'connect';
  #stepAt = this.#begunAt;
  #heldAt: number | null = null;
  #new: Backend | null = null;
  /** The old back end has been told to leave RUNNING. */
  #stopped = false;
  #hasRun = false;
  #stateBytes: number | null = null;
  #configWrites = 0;
  #wanted: Uint8Array | null = null;

  constructor(session: Session, options: SwapOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** @throws ProxyError ERR_SWAP_REFUSED, ERR_SWAP_FAILED, ERR_SWAP_STRANDED */
  async run(): Promise<SwapReport> {
    const from = this.#session.backend;
    const promised = this.#requirePossible(from);
    try {
      const fresh = await this.#bringUp(promised);
      await this.#handOver(from, fresh, promised);
      return this.#commit(from, fresh);
    } catch (error) {
      throw await this.#rollBack(from, error);
    }
  }

  /** What can be told before anything is touched. */
  #requirePossible(from: Backend | null): Version {
    const { promised, hindrance } = this.#session.record;
    if (promised === null) throw refused('the client has not settled VERSION yet');
    if (hindrance !== null) throw refused(hindrance);
    if (from === null && !this.#options.fresh) {
      throw refused(
        'the state of the device was lost with its back end: only a fresh one can take its place',
      );
    }
    return promised;
  }

  // ---- before the client is held

  async #bringUp(promised: Version): Promise<Backend> {
    const { path, connect, fresh } = this.#options;
    const backend = connect(path);
    this.#new = backend;
    this.#enter('version');
    const proposal = this.#session.record.proposal ?? NOTHING;
    const answer = version.reply.decode(await backend.require(Command.VERSION, proposal));
    const broken = brokenPromise(promised, answer);
    if (broken !== null)
      throw new ProxyError('ERR_BACKEND', `${path} can't keep what the client was told: ${broken}`);
    this.#enter('prepare');
    const migrates = await canMigrate(backend);
    if (fresh) await this.#renew(backend, migrates);
    else if (migrates) await this.#receive(backend);
    else throw new ProxyError('ERR_BACKEND', `${path} does not offer migration (v2)`);
    this.#enter('describe');
    await this.#requireSameDevice(backend);
    return backend;
  }

  /** A server that served before may have stopped, and still have the state of then. */
  async #renew(backend: Backend, migrates: boolean): Promise<void> {
    if (migrates && (await forgetHalfState(backend)) !== MigrationState.RUNNING) {
      await setState(backend, MigrationState.RUNNING);
    }
    await backend.require(Command.DEVICE_RESET, NOTHING);
  }

  async #receive(backend: Backend): Promise<void> {
    await forgetHalfState(backend);
    await setState(backend, MigrationState.RESUMING);
  }

  async #requireSameDevice(backend: Backend): Promise<void> {
    for (const { command, request, reply } of this.#session.record.infos.values()) {
      const answer = await backend.require(command, request);
      const comparable =
        command === Command.DEVICE_GET_REGION_INFO ? withoutMapping(answer, REGION_INFO_ARGSZ) : answer;
      if (Buffer.compare(comparable, reply) === 0) continue;
      const what = command === Command.DEVICE_GET_REGION_INFO ? `region ${indexOf(request)}` : 'the device';
      throw new ProxyError(
        'ERR_BACKEND',
        `${backend.path} describes ${what} in another way than the client was told`,
      );
    }
  }

  // ---- while the client is held

  async #handOver(from: Backend | null, fresh: Backend, promised: Version): Promise<void> {
    const { record } = this.#session;
    this.#enter('drain');
    this.#heldAt = performance.now();
    this.#session.freeze();
    await this.#drained(from);
    this.#enter('read configuration');
    const limit = transferLimit(promised, version.request.decode(record.proposal ?? new Uint8Array(0)));
    const size = this.#configurationSize();
    if (from !== null) this.#wanted = await readConfiguration(from, size, limit);
    this.#enter('stop');
    // The new one can be told of memory meanwhile; it does not run.
    const mapped = this.#map(fresh);
    mapped.catch(() => {});
    if (from !== null) await this.#stop(from);
    this.#enter('map');
    await mapped;
    this.#enter('copy');
    if (from !== null && !this.#options.fresh) this.#stateBytes = await copyState(from, fresh, limit);
    this.#enter('interrupts');
    await this.#interrupts(fresh, promised);
    this.#enter('finish');
    if (!this.#options.fresh) await this.#finish(from, fresh);
    this.#enter('configure');
    await this.#configure(fresh, size, limit);
    this.#enter('run');
    if (!this.#options.fresh) await this.#runIt(fresh);
  }

  /** Nothing is on its way between the client and its back end any more. */
  async #drained(from: Backend | null): Promise<void> {
    const deadline = performance.now() + DRAIN_MS;
    const session = this.#session;
    for (;;) {
      this.#requireClient();
      const asked = from === null ? 0 : session.unansweredByBackend;
      if (asked === 0 && session.unansweredByClient === 0) return;
      const left = deadline - performance.now();
      if (left <= 0) {
        const who = asked > 0 ? `${asked} requests of the client` : 'a DMA request of the back end';
        throw new ProxyError('ERR_BACKEND', `${who} stayed without an answer`);
      }
      await session.change(left);
    }
  }

  async #stop(from: Backend): Promise<void> {
    const migrates = await canMigrate(from);
    if (!migrates && this.#options.fresh) return;
    if (!migrates) {
      throw new ProxyError(
        'ERR_BACKEND',
        `${from.path} does not offer migration (v2), so its state stays where it is`,
      );
    }
    this.#stopped = true;
    await setState(from, this.#options.fresh ? MigrationState.STOP : MigrationState.STOP_COPY);
    await this.#drained(from);
  }

  async #map(fresh: Backend): Promise<void> {
    const { entries } = this.#session.record.dma;
    const mapped = entries.map(({ payload, fd }) =>
      fresh.require(Command.DMA_MAP, payload, fd === null ? [] : [fd]),
    );
    await Promise.all(mapped);
  }

  async #interrupts(fresh: Backend, promised: Version): Promise<void> {
    const maxFds = promised.capabilities?.maxMsgFds ?? 1;
    const replays = this.#session.record.irqs.replays(maxFds);
    // A server handles what it is asked in order, so nobody waits for one answer before the next request.
    await Promise.all(
      replays.map(({ payload, fds }) => fresh.require(Command.DEVICE_SET_IRQS, payload, fds)),
    );
  }

  /** The old one is done with; that it dies now does not matter any more. The new one proves that it has all. */
  async #finish(from: Backend | null, fresh: Backend): Promise<void> {
    const ended = from === null || from.link.closed ? null : setState(from, MigrationState.STOP);
    await Promise.all([
      ended?.catch((error: unknown) => {
        if (from?.link.closed !== true) throw error;
      }),
      setState(fresh, MigrationState.STOP),
    ]);
  }

  async #configure(fresh: Backend, size: number, limit: number): Promise<void> {
    if (size === 0) return;
    const own = await readConfiguration(fresh, size, limit);
    const wanted = this.#wanted ?? this.#session.record.configuration.over(own);
    const writes = differing(own, setupWrites(own, wanted, 0));
    await Promise.all(writes.map(({ offset, bytes }) => writeConfiguration(fresh, offset, bytes)));
    this.#configWrites = writes.length;
  }

  async #runIt(fresh: Backend): Promise<void> {
    this.#requireClient();
    this.#requireTime();
    this.#hasRun = true;
    this.#session.admit(fresh);
    await setState(fresh, MigrationState.RUNNING);
  }

  #commit(from: Backend | null, fresh: Backend): SwapReport {
    this.#requireClient();
    this.#note();
    from?.close();
    this.#session.replaceBackend(fresh);
    this.#session.thaw();
    const now = performance.now();
    const { dma, irqs } = this.#session.record;
    return {
      from: from?.path ?? 'a back end that is gone',
      to: fresh.path,
      stateBytes: this.#stateBytes,
      heldMs: now - (this.#heldAt ?? now),
      totalMs: now - this.#begunAt,
      steps: this.#steps,
      dmaMaps: dma.entries.length,
      vectors: irqs.vectors,
      configWrites: this.#configWrites,
      lost: this.#options.fresh ? lostWith(from) : [],
    };
  }

  // ---- back

  async #rollBack(from: Backend | null, error: unknown): Promise<ProxyError> {
    const failed = failure(this.#step, error);
    await this.#withdraw();
    this.#session.admit(this.#session.backend);
    if (this.#heldAt === null) return failed;
    const stranded = await this.#goOn(from, failed);
    this.#session.thaw();
    return stranded ?? failed;
  }

  /** The new one must not run: it is told to stop if it was told to run, and loses memory and interrupts in any case. */
  async #withdraw(): Promise<void> {
    const fresh = this.#new;
    if (fresh === null) return;
    if (this.#hasRun && !fresh.link.closed) {
      await setState(fresh, MigrationState.STOP).catch(() => {});
      // What it has asked the client meanwhile is answered to nobody.
      await this.#drained(null).catch(() => {});
    }
    fresh.close();
  }

  async #goOn(from: Backend | null, failed: ProxyError): Promise<ProxyError | null> {
    if (from === null || !this.#stopped || from.link.closed) return null;
    try {
      await setState(from, MigrationState.RUNNING);
      return null;
    } catch (error) {
      const state = await stateOf(from).then(parseState, () => null);
      if (state !== null && isRunning(state)) return null;
      const why = error instanceof Error ? error.message : String(error);
      const message = `${failed.message}; and ${from.path} does not run again: ${why}`;
      return new ProxyError('ERR_SWAP_STRANDED', message, failed.context, { cause: error });
    }
  }

  // ---- small matters

  #enter(step: SwapStep): void {
    this.#note();
    this.#step = step;
    this.#requireTime();
  }

  #note(): void {
    const now = performance.now();
    this.#steps[this.#step] = now - this.#stepAt;
    this.#stepAt = now;
  }

  #requireTime(): void {
    const { holdLimitMs } = this.#options;
    if (this.#heldAt === null || performance.now() - this.#heldAt <= holdLimitMs) return;
    throw new ProxyError(
      'ERR_BACKEND',
      `the client would wait for longer than ${holdLimitMs} ms`,
      {},
      { errno: Errno.ETIMEDOUT },
    );
  }

  #requireClient(): void {
    if (this.#session.closed) throw new ProxyError('ERR_BACKEND', 'the client has gone');
  }

  #configurationSize(): number {
    for (const { command, request, reply } of this.#session.record.infos.values()) {
      if (command !== Command.DEVICE_GET_REGION_INFO || indexOf(request) !== RegionIndex.CONFIG) continue;
      return Number(deviceGetRegionInfo.reply.decode(reply).size);
    }
    return 0;
  }
}

/** What a back end has taken of a state, when a swap to it failed, is thrown away; returns its migration state. */
async function forgetHalfState(backend: Backend): Promise<number> {
  const state = await stateOf(backend);
  if (state !== MigrationState.RESUMING && state !== MigrationState.ERROR) return state;
  await backend.require(Command.DEVICE_RESET, NOTHING);
  const after = await stateOf(backend);
  if (after !== MigrationState.RESUMING) return after;
  // libvfio-user resets the device and leaves the state where it is.
  await setState(backend, MigrationState.STOP);
  return MigrationState.STOP;
}

const NOTHING = new Uint8Array(0);

function indexOf(request: Uint8Array): number {
  return deviceGetRegionInfo.request.decode(request).index;
}

/** Registers that are as they should be are not written: that could have an effect of its own. */
function differing(own: Uint8Array, writes: readonly ConfigWrite[]): readonly ConfigWrite[] {
  return writes.filter(({ offset, bytes }) => bytes.some((byte, i) => own[offset + i] !== byte));
}

function lostWith(from: Backend | null): string[] {
  return [
    'the state of the device: registers, queues, what it was in the middle of',
    ...(from === null ? ['posted writes that the old back end had not handled'] : []),
  ];
}

function refused(why: string): ProxyError {
  return new ProxyError('ERR_SWAP_REFUSED', `the back end can't be swapped: ${why}`);
}

function failure(step: SwapStep, error: unknown): ProxyError {
  const why = error instanceof Error ? error.message : String(error);
  const errno = error instanceof FerryError ? error.errno : Errno.EIO;
  return new ProxyError(
    'ERR_SWAP_FAILED',
    `the swap failed in step "${step}": ${why}`,
    { step },
    { errno, cause: error },
  );
}
