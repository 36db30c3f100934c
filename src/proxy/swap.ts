import { Errno } from '../errors/index.ts';
import { DEFAULT_MAX_MSG_FDS, type Version, version } from '../protocol/index.ts';
import type { Backend } from './backend.ts';
import { readConfiguration, transferLimit } from './backend-calls.ts';
import { Predecessor } from './predecessor.ts';
import { ProxyError } from './proxy-error.ts';
import type { Session } from './session.ts';
import { StateCopy } from './state-copy.ts';
import { Successor } from './successor.ts';
import { failedIn, refused, strandedAt } from './swap-failure.ts';
import { StepClock, type SwapReport, type SwapStep } from './swap-steps.ts';

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

/** What is known of both sides once the swap has begun. */
interface Terms {
  readonly promised: Version;
  /** The most that a message to a back end or from it may carry, in bytes. */
  readonly limit: number;
  /** Resets by the client when the swap began. */
  readonly resets: number;
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
  readonly #clock = new StepClock();
  readonly #old: Predecessor | null;
  #new: Successor | null = null;
  #copy: StateCopy | null = null;
  /** Since when the client's commands wait, by performance.now(). */
  #heldAt: number | null = null;
  #aheadBytes = 0;

  constructor(session: Session, options: SwapOptions) {
    this.#session = session;
    this.#options = options;
    this.#old = session.backend === null ? null : new Predecessor(session.backend);
  }

  /** @throws ProxyError ERR_SWAP_REFUSED, ERR_SWAP_FAILED, ERR_SWAP_STRANDED */
  async run(): Promise<SwapReport> {
    const promised = this.#requirePossible();
    const { proposal, resets } = this.#session.record;
    const limit = transferLimit(promised, version.request.decode(proposal ?? NOTHING));
    const terms = { promised, limit, resets };
    this.#session.reserveMigration(true);
    try {
      const fresh = await this.#bringUp(terms);
      await this.#goAhead(fresh, terms);
      await this.#handOver(fresh, terms);
      return this.#commit(fresh);
    } catch (error) {
      throw await this.#rollBack(error);
    } finally {
      this.#session.reserveMigration(false);
    }
  }

  /** What can be told before anything is touched. */
  #requirePossible(): Version {
    const { promised, hindrance } = this.#session.record;
    if (promised === null) throw refused('the client has not settled VERSION yet');
    if (hindrance !== null) throw refused(hindrance);
    if (this.#old !== null || this.#options.fresh) return promised;
    throw refused('the state of the device was lost with its back end: only a fresh one can take its place');
  }

  // ---- while the client goes on

  async #bringUp({ promised }: Terms): Promise<Successor> {
    const { path, connect, fresh } = this.#options;
    const successor = new Successor(connect(path), this.#session.record);
    this.#new = successor;
    this.#clock.enter('version');
    await successor.settleVersion(promised);
    this.#clock.enter('prepare');
    await successor.prepare(fresh);
    await this.#old?.prepare(fresh);
    this.#clock.enter('describe');
    await successor.describe();
    return successor;
  }

  /** All that needs no standing device. A new back end that begins afresh runs already, and gets nothing before. */
  async #goAhead(successor: Successor, { limit, promised }: Terms): Promise<void> {
    const old = this.#old;
    if (this.#options.fresh || old === null) return;
    this.#clock.enter('map ahead');
    await successor.map();
    this.#clock.enter('interrupts ahead');
    await successor.interrupts(maxFdsOf(promised));
    const copy = new StateCopy(old.backend, successor.backend, limit);
    this.#copy = copy;
    if (!old.copiesAhead) return;
    this.#clock.enter('copy ahead');
    await old.beginAhead();
    await copy.ahead();
    this.#aheadBytes = copy.bytes;
  }

  // ---- while the client is held

  async #handOver(successor: Successor, terms: Terms): Promise<void> {
    this.#clock.enter('drain');
    this.#heldAt = performance.now();
    this.#session.freeze();
    await this.#drained(this.#old !== null);
    this.#requireUnchanged(terms);
    const wanted = await this.#stop(terms);
    this.#enter('map');
    await successor.describe();
    await successor.map();
    this.#enter('copy');
    await this.#copy?.rest();
    const own = await this.#settle(successor, terms);
    if (own.length > 0) await successor.configure(own, wanted);
    this.#enter('run');
    this.#requireClient();
    this.#session.admit(successor.backend);
    if (!this.#options.fresh) await successor.run();
  }

  /** Nothing is on its way between the client and its back end any more. `asked`: requests of the client count. */
  async #drained(asked: boolean): Promise<void> {
    const deadline = performance.now() + DRAIN_MS;
    const session = this.#session;
    for (;;) {
      this.#requireClient();
      const count = asked ? session.unansweredByBackend : 0;
      if (count === 0 && session.unansweredByClient === 0) return;
      const left = deadline - performance.now();
      if (left <= 0) {
        const who = count > 0 ? `${count} requests of the client` : 'a DMA request of the back end';
        throw new ProxyError('ERR_BACKEND', `${who} stayed without an answer`);
      }
      await session.change(left);
    }
  }

  /** The client went on until now. */
  #requireUnchanged({ resets }: Terms): void {
    const { hindrance, resets: now } = this.#session.record;
    if (hindrance !== null) throw new ProxyError('ERR_BACKEND', hindrance);
    if (now === resets || this.#options.fresh) return;
    throw new ProxyError('ERR_BACKEND', 'the client has reset the device meanwhile: try again');
  }

  /** The old one stands still. Returns its configuration space, which is read as it is before; null: nobody knows. */
  async #stop({ limit }: Terms): Promise<Uint8Array | null> {
    const old = this.#old;
    this.#enter('read configuration');
    if (old === null) return null;
    const reading = readConfiguration(old.backend, this.#session.record.configurationSize, limit);
    const stopping = old.stop(this.#options.fresh);
    stopping.catch(() => {});
    const wanted = await reading;
    this.#enter('stop');
    await stopping;
    await this.#drained(true);
    return wanted;
  }

  /**
   * The new one has the whole state, gets what is new of interrupts, and both go to STOP. It is asked for all of it at
   * once, since a server does what it is asked in order. Returns its configuration space.
   */
  async #settle(successor: Successor, { promised, limit }: Terms): Promise<Uint8Array> {
    const { fresh } = this.#options;
    const assigned = successor.interrupts(maxFdsOf(promised));
    const finished = fresh ? null : Promise.all([successor.finish(), this.#old?.finish()]);
    const own = readConfiguration(successor.backend, this.#session.record.configurationSize, limit);
    for (const each of [assigned, finished, own]) each?.catch(() => {});
    await this.#copy?.taken();
    this.#enter('interrupts');
    await assigned;
    this.#enter('finish');
    await finished;
    this.#enter('configure');
    return own;
  }

  #commit(successor: Successor): SwapReport {
    this.#requireClient();
    this.#session.replaceBackend(successor.backend);
    this.#session.thaw();
    const now = performance.now();
    this.#clock.note();
    this.#old?.backend.close();
    const { dma, irqs } = this.#session.record;
    return {
      from: this.#old?.backend.path ?? 'a back end that is gone',
      to: successor.backend.path,
      stateBytes: this.#copy?.bytes ?? null,
      aheadBytes: this.#aheadBytes,
      heldMs: now - (this.#heldAt ?? now),
      totalMs: now - this.#clock.begunAt,
      steps: this.#clock.durations,
      dmaMaps: dma.entries.length,
      vectors: irqs.vectors,
      configWrites: successor.configWrites,
      lost: this.#options.fresh ? lostWith(this.#old) : [],
    };
  }

  // ---- back

  async #rollBack(error: unknown): Promise<ProxyError> {
    const failed = failedIn(this.#clock.step, error);
    await this.#withdraw();
    this.#session.admit(this.#session.backend);
    const stranded = await this.#old?.goOn().then(
      () => null,
      (reason: unknown) => strandedAt(this.#old?.backend.path ?? '', failed, reason),
    );
    if (this.#heldAt !== null) this.#session.thaw();
    return stranded ?? failed;
  }

  /** The new one must not run: it is told to stop if it was told to run, and loses memory and interrupts in any case. */
  async #withdraw(): Promise<void> {
    const successor = this.#new;
    if (successor?.mayRun === true) {
      await successor.halt();
      // What it has asked the client meanwhile is answered to nobody.
      await this.#drained(false).catch(() => {});
    }
    successor?.backend.close();
  }

  // ---- small matters

  #enter(step: SwapStep): void {
    this.#clock.enter(step);
    const { holdLimitMs } = this.#options;
    if (this.#heldAt === null || performance.now() - this.#heldAt <= holdLimitMs) return;
    const what = `the client would wait for longer than ${holdLimitMs} ms`;
    throw new ProxyError('ERR_BACKEND', what, {}, { errno: Errno.ETIMEDOUT });
  }

  #requireClient(): void {
    if (this.#session.closed) throw new ProxyError('ERR_BACKEND', 'the client has gone');
  }
}

const NOTHING = new Uint8Array(0);

function maxFdsOf({ capabilities }: Version): number {
  return capabilities?.maxMsgFds ?? DEFAULT_MAX_MSG_FDS;
}

function lostWith(old: Predecessor | null): string[] {
  return [
    'the state of the device: registers, queues, what it was in the middle of',
    ...(old === null ? ['posted writes that the old back end had not handled'] : []),
  ];
}
