import { Errno, FerryError } from '../errors/index.ts';
import type { DeviceServer, ServedConnection, ServedListener } from '../server/index.ts';
import { isRunning, MigrationFlag, MigrationState } from '../states/index.ts';
import type { Closeable } from '../transport/index.ts';
import { HandoverError, unexpected } from './handover-error.ts';
import { Kind, PROTOCOL_VERSION } from './layout.ts';
import { HandoverLink } from './link.ts';
import { decodeRefusal, encodeHello, encodeRefusal } from './messages.ts';
import { Outgoing } from './outgoing.ts';
import { encodeRecord } from './record-encoder.ts';
import { type GiverAct, type GiverEvent, type GiverState, giverStep } from './sequence.ts';
import { Verdict, VerdictWord } from './verdict.ts';

/** How long a process waits for the other, in milliseconds. */
export interface HandoverLimits {
  /** For the answer to each message while nothing is stopped; 10000 by default. */
  readonly answerMs?: number;
  /** For the device to come to rest, while it is still served; 2000 by default. */
  readonly restMs?: number;
  /** For the new process to be ready, while the device stands still; 1000 by default, far below what a VMM waits. */
  readonly frozenMs?: number;
}

/** What a hand-over is about. */
export interface GiverParts {
  readonly server: DeviceServer;
  readonly listeners: readonly ServedListener[];
  /** The control connection of the process that asks. */
  readonly by: ServedConnection;
  /** The socket to it. */
  readonly fd: number;
  readonly limits: HandoverLimits;
  /** Why not, if whoever runs the server knows. */
  readonly obstacle: string | null;
  /** It is over: the device is the other process's (null), or stays here, and why. */
  readonly over: (kept: FerryError | null) => void;
}

/** QEMU gives up on a request after 5 s. */
const FROZEN_MS = 1_000;
/** How often what has to pass by itself is looked at, in milliseconds. */
const LOOK_MS = 1;
/** How often it is begun anew because the device was reset meanwhile. */
const MAX_ATTEMPTS = 20;
/** How often what has changed is sent before the device is stopped. */
const MAX_PASSES = 4;
/** So much of the state is asked for at a time, in bytes. */
const CHUNK = 256 * 1024;

/** The process that has a device, and gives it to another one. */
export class Giver {
  readonly #parts: GiverParts;
  readonly #link: HandoverLink;
  readonly #outgoing: Outgoing;
  readonly #word: VerdictWord;
  #state: GiverState = 'asked';
  #timer: Closeable | null = null;
  #attempts = 0;
  /** Resets of the device when the state was begun. */
  #resets = 0;
  /** The device has been told. */
  #begun = false;
  #sent = 0;
  #stoppedAt = 0n;
  #given: ReturnType<NonNullable<DeviceServer['device']['handover']>['give']> | null = null;
  #why: FerryError | null = null;

  /** The fd is the giver's from now on. A device that can't be given is refused over it. Throws NativeError. */
  constructor(parts: GiverParts) {
    const { server, by, fd } = parts;
    const obstacle = parts.obstacle ?? server.succession.obstacle(by);
    this.#parts = parts;
    this.#word = VerdictWord.create(server.native);
    this.#link = new HandoverLink(server.native, server.reactor, fd, {
      message: (kind, body, fds) => this.#message(kind, body, fds),
      ended: (reason) => this.#ended(reason),
    });
    this.#outgoing = new Outgoing(server.native, this.#link);
    this.#attempt(() => {
      if (obstacle !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', obstacle);
      this.#greet();
    });
  }

  #greet(): void {
    const { server } = this.#parts;
    const { handover, identity } = server.device;
    if (handover === undefined) throw new TypeError('the device has no hand-over');
    const hello = {
      ...{ protocol: PROTOCOL_VERSION, pid: process.pid, identity },
      ...{ parts: handover.parts, shared: handover.shared, fds: server.memory.mapCount },
    };
    this.#begun = true;
    handover.begin(handover.shared.map(({ name }) => name));
    this.#link.send(Kind.HELLO, encodeHello(hello), [this.#word.fd]);
    this.#arm(this.#parts.limits.answerMs ?? 10_000, 'the new process does not answer');
  }

  #message(kind: number, body: Uint8Array, fds: readonly number[]): void {
    for (const fd of fds) this.#parts.server.native.close(fd);
    switch (kind) {
      case Kind.OK:
        return this.#happen('ok');
      case Kind.READY:
        return this.#happen('ready');
      case Kind.TAKEN:
        return this.#happen('taken');
      case Kind.ACK:
        return this.#outgoing.acknowledge(body);
      case Kind.NO: {
        const { errno, text } = decodeRefusal(body);
        this.#why = new HandoverError('ERR_HANDOVER_REFUSED', text, {}, { errno: errno || Errno.EIO });
        return this.#happen('no');
      }
      default:
        throw unexpected(`has sent message ${kind}`);
    }
  }

  #ended(reason: FerryError): void {
    this.#why ??= reason;
    this.#happen('eof');
  }

  /** Looks up what is to be done, and does it. */
  #happen(event: GiverEvent): void {
    const step = giverStep(this.#state, event);
    if (step === null) return this.#fail(unexpected(`says ${event} when that has no place`));
    const [next, act] = step;
    this.#state = next;
    this.#act(act);
  }

  #act(act: GiverAct): void {
    if (act === 'copy') void this.#copy();
    else if (act === 'keep') this.#keep();
    else if (act === 'give') this.#give();
    else if (act === 'leave') this.#leave();
    else if (act === 'reclaim') this.#reclaim();
  }

  #fail(error: unknown): void {
    if (!(error instanceof FerryError)) throw error;
    this.#why ??= error;
    // After it was given nothing that this process finds out counts.
    if (giverStep(this.#state, 'failed') !== null) this.#happen('failed');
  }

  #attempt(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#fail(error);
    }
  }

  #arm(ms: number, what: string): void {
    this.#timer?.close();
    this.#timer = this.#parts.server.reactor.after(ms, () => {
      this.#why ??= new HandoverError('ERR_HANDOVER_TIMEOUT', `${what} within ${ms} ms`);
      this.#happen('timeout');
    });
  }

  #disarm(): void {
    this.#timer?.close();
    this.#timer = null;
  }

  /** Sends the state while the device runs; then stops it, and sends the rest. */
  async #copy(): Promise<void> {
    this.#disarm();
    this.#sent = 0;
    try {
      await this.#settle();
      if (this.#state === 'copying') await this.#copyRunning();
      if (this.#state === 'copying') await this.#stop();
      if (this.#state === 'copying') this.#hand();
    } catch (error) {
      if (this.#state !== 'copying' && this.#state !== 'stopped') return;
      if (this.#mayRepeat()) await this.#again();
      else this.#fail(asFerryError(error));
    }
  }

  /** Waits until nothing is under way that passes by itself, for as long as a device may take to come to rest. */
  async #settle(): Promise<void> {
    const { server, by, limits } = this.#parts;
    await this.#until(() => server.succession.unsettled(), limits.restMs ?? 2_000);
    server.migration.report(by);
    this.#resets = server.migration.resets;
  }

  /** Waits until there is no reason against it any more. */
  async #until(reasonAgainst: () => string | null, limitMs: number): Promise<void> {
    const end = performance.now() + limitMs;
    for (let reason = reasonAgainst(); reason !== null; reason = reasonAgainst()) {
      if (performance.now() > end) throw busy(reason);
      await this.#pause();
    }
  }

  async #copyRunning(): Promise<void> {
    const { server, by } = this.#parts;
    this.#requireNoObstacle();
    if ((server.device.migration.flags & MigrationFlag.PRE_COPY) === 0) return;
    await server.setState(MigrationState.PRE_COPY, by);
    // What the guest changes while the first pass goes on is less, and so on; a guest that is faster is stopped anyhow.
    for (let pass = 0; pass < MAX_PASSES && this.#state === 'copying'; pass += 1) {
      const before = this.#sent;
      await this.#copyPass();
      await this.#outgoing.takenIn();
      if (this.#sent - before < CHUNK) return;
    }
  }

  /** Sends the state, or what has changed of it, until there is nothing more now. */
  async #copyPass(): Promise<void> {
    const { server, by, limits } = this.#parts;
    const enough = this.#sent + Number(server.migration.dataSize(by)) + CHUNK;
    while (this.#state === 'copying' && this.#sent < enough) {
      this.#arm(limits.answerMs ?? 10_000, 'the new process does not take the state');
      const more = this.#readAndSend();
      await this.#link.drained();
      if (!more) return;
    }
  }

  /** One piece of the state; whether there may be more now. */
  #readAndSend(): boolean {
    const { server, by } = this.#parts;
    const buffer = new Uint8Array(CHUNK);
    const count = server.migration.read(buffer, by);
    if (count > 0) this.#link.send(Kind.DATA, buffer.subarray(0, count));
    this.#sent += count;
    return count === CHUNK;
  }

  /** The device comes to rest; its VMM is served until it has, and waits from then on. */
  async #stop(): Promise<void> {
    const { server, by, limits } = this.#parts;
    const timer = server.reactor.after(limits.restMs ?? 2_000, () => server.migration.abandon());
    try {
      await server.setState(MigrationState.STOP_COPY, by);
    } finally {
      timer.close();
    }
    this.#stoppedAt = process.hrtime.bigint();
    await this.#until(() => server.succession.unfinished(by), limits.frozenMs ?? FROZEN_MS);
  }

  /** From here to the end of the function nobody else runs in this process. */
  #hand(): void {
    const { server, by, limits, listeners } = this.#parts;
    this.#happen('stop');
    this.#arm(limits.frozenMs ?? FROZEN_MS, 'the new process was not ready');
    for (const { listener } of listeners) listener.pause();
    server.succession.freeze(by);
    const reason = server.succession.unfinished(by);
    if (reason !== null) throw busy(reason);
    const data = this.#readRest();
    const remains = server.succession.remains(by);
    this.#given = remains.device;
    const record = encodeRecord({
      listeners: listeners.map(({ role, listener }) => ({ role, fd: listener.fd, path: listener.path })),
      server: remains,
    });
    void this.#outgoing.sendStopped(
      { record, data, dataLength: this.#sent, stoppedAt: this.#stoppedAt },
      () => this.#state === 'stopped',
    );
  }

  #readRest(): readonly Uint8Array[] {
    const { server, by } = this.#parts;
    const pieces: Uint8Array[] = [];
    for (;;) {
      const buffer = new Uint8Array(CHUNK);
      const count = server.migration.read(buffer, by);
      if (count === 0) return pieces;
      pieces.push(buffer.subarray(0, count));
      this.#sent += count;
    }
  }

  /** Whether it failed because the device was reset meanwhile, as a guest does that boots. */
  #mayRepeat(): boolean {
    this.#attempts += 1;
    const wasReset = this.#parts.server.migration.resets !== this.#resets;
    return wasReset && this.#attempts < MAX_ATTEMPTS && this.#link.open;
  }

  async #again(): Promise<void> {
    this.#disarm();
    this.#state = 'copying';
    try {
      await this.#goOn();
    } catch (error) {
      return this.#fail(asFerryError(error));
    }
    if (this.#state !== 'copying') return;
    this.#happen('again');
    this.#arm(this.#parts.limits.answerMs ?? 10_000, 'the new process does not answer');
    this.#link.send(Kind.AGAIN);
  }

  #requireNoObstacle(): void {
    const obstacle = this.#parts.server.succession.obstacle(this.#parts.by);
    if (obstacle !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', obstacle);
  }

  #give(): void {
    this.#disarm();
    this.#word.change(Verdict.OPEN, Verdict.GIVEN);
    this.#link.send(Kind.GO);
  }

  /** The new process has died; if it has not taken the device before, this one goes on with it. */
  #reclaim(): void {
    if (!this.#word.change(Verdict.GIVEN, Verdict.KEPT)) return this.#leave();
    this.#state = 'kept';
    this.#resume();
  }

  #keep(): void {
    this.#word.change(Verdict.OPEN, Verdict.KEPT);
    const { errno = Errno.EIO, message = 'no reason was given' } = this.#why ?? {};
    this.#link.send(Kind.NO, encodeRefusal(errno, message));
    this.#resume();
  }

  /** The device goes on here. */
  #resume(): void {
    this.#disarm();
    const why = this.#why ?? new HandoverError('ERR_HANDOVER_FAILED', 'the new process has ended');
    this.#goOn().then(
      () => this.#close(why),
      (error: unknown) => {
        this.#parts.server.report(asFerryError(error));
        this.#close(why);
      },
    );
  }

  async #goOn(): Promise<void> {
    const { server, by, listeners } = this.#parts;
    const { handover } = server.device;
    if (!this.#begun) return;
    handover?.end();
    if (this.#given !== null) handover?.adopt([], this.#given.timers);
    this.#given = null;
    // A change of state that was given up ends soon; nothing else can be asked for before.
    const until = performance.now() + (this.#parts.limits.answerMs ?? 10_000);
    while (server.migration.inTransition && performance.now() < until) await this.#pause();
    const { state, owner } = server.migration;
    server.migration.report(by);
    const mine = owner === by || (owner === null && !isRunning(state));
    if (state !== MigrationState.RUNNING && mine) await server.setState(MigrationState.RUNNING, by);
    server.succession.thaw();
    for (const { listener } of listeners) listener.resume();
  }

  #leave(): void {
    const { server, listeners } = this.#parts;
    this.#disarm();
    for (const { listener } of listeners) listener.release();
    server.succession.abandon();
    this.#close(null);
  }

  #close(kept: FerryError | null): void {
    void this.#link.drained().then(() => {
      this.#link.close();
      this.#word.close();
      this.#parts.over(kept);
    });
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.server.reactor.after(LOOK_MS, resolve);
    });
  }
}

function busy(reason: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_TIMEOUT', `the device did not come to rest: ${reason}`);
}

function asFerryError(error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new HandoverError(
    'ERR_HANDOVER_FAILED',
    `the device can't be handed over: ${text}`,
    {},
    { cause: error },
  );
}
