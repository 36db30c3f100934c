import { Errno } from '../errors/index.ts';
import { Feature, FeatureDataSize, FeatureDeviceState, FeatureMigration, struct } from '../protocol/index.ts';
import { MigrationState, parseState, type SessionKind, sessionKind, stateName } from '../states/index.ts';
import { CallQueue } from './call-queue.ts';
import { DataSession, type KernelPrecopyInfo } from './data-session.ts';
import type { KernelFeatures } from './features.ts';
import { KernelError, KernelSessionError, KernelStateError } from './kernel-error.ts';
import type { KernelSystem } from './system.ts';
import { KernelFeature } from './uapi/structs.ts';

const NO_FD = -1;
/** How long a device that has stopped may take to have its next piece ready, in milliseconds. */
const STOPPED_MS = 30_000;
const NOTHING = struct('nothing', {});

/**
 * The migration of a device: its states and the session through which its state goes. Calls are carried out one after the
 * other, in the order in which they were made, and on another thread: each may take long.
 */
export class KernelMigration {
  readonly #system: KernelSystem;
  readonly #features: KernelFeatures;
  readonly #name: string;
  readonly #queue = new CallQueue();
  #session: DataSession | null = null;
  /** The state that was reached last, as far as this process knows. */
  #state: number | null = null;
  #flagsAreValid = false;
  #buffer = new Uint8Array(0);

  constructor(system: KernelSystem, features: KernelFeatures, name: string) {
    this.#system = system;
    this.#features = features;
    this.#name = name;
  }

  /** The session that is open; null when none is. */
  get session(): DataSession | null {
    return this.#session;
  }

  /** MigrationFlag bits; null when the driver does not migrate. */
  flags(): bigint | null {
    return this.#features.get(Feature.MIGRATION, FeatureMigration)?.flags ?? null;
  }

  /** The state now, in its place among the other calls. @throws KernelError */
  state(): Promise<number> {
    return this.#queue.run(async () => this.#readState());
  }

  /**
   * Takes the device to a state, over every state that lies between. @throws KernelStateError with the state that was
   * reached; KernelError ERR_KERNEL_LEFT_OVER when the session belongs to an earlier user
   */
  setState(state: number): Promise<void> {
    return this.#queue.run(() => this.#go(state));
  }

  /**
   * Reads at most `maxBytes`; 0 is the end, for now in the PRE_COPY states. See MigrationEnd.read.
   * @throws KernelSessionError
   */
  read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    return this.#queue.run(async () => {
      const length = await this.#transfer(() => this.#readPiece(maxBytes));
      if (length > 0) consume(this.#buffer.subarray(0, length));
      return length;
    });
  }

  /** Writes to the resuming session. `bytes` may be reused when the call returns. @throws KernelSessionError */
  write(bytes: Uint8Array): Promise<void> {
    // Not slice(), which is no copy of a Buffer.
    const copy = new Uint8Array(bytes);
    return this.#queue.run(() => this.#transfer(() => this.#open('resuming').write(copy)));
  }

  /** What pre-copy still has to give; null outside of it, and where the driver does not tell. */
  precopyInfo(): Promise<KernelPrecopyInfo | null> {
    return this.#queue.run(async () => {
      if (this.#session?.kind !== 'saving') return null;
      return this.#session.precopyInfo(this.#flagsAreValid);
    });
  }

  /** What stop-copy would transfer, in bytes; null where the driver does not tell. */
  dataSize(): Promise<bigint | null> {
    return this.#queue.run(async () => this.dataSizeNow());
  }

  /** The same at once, and out of turn. */
  dataSizeNow(): bigint | null {
    return this.#features.get(Feature.MIG_DATA_SIZE, FeatureDataSize)?.stopCopyLength ?? null;
  }

  /** Waits until there is something to read in a PRE_COPY state, for at most `ms`; false: not in time. */
  waitReadable(ms: number): Promise<boolean> {
    return this.#queue.run(() => this.#open('saving').waitReadable(ms));
  }

  /** Makes a call that ends every session unless it fails, in its place among the others; what it returned. */
  endingSession(call: () => Promise<number>): Promise<number> {
    return this.#queue.run(async () => {
      const result = await call();
      if (result < 0) return result;
      this.close();
      this.#state = null;
      return result;
    });
  }

  /** Closes the session's file; the device stays where it is. Idempotent. */
  close(): void {
    this.#session?.close();
    this.#session = null;
  }

  #readState(): number {
    const answer = this.#features.get(Feature.MIG_DEVICE_STATE, FeatureDeviceState);
    if (answer === null) throw lacks(`the driver of ${this.#name} has no migration states`);
    this.#state = answer.deviceState;
    return answer.deviceState;
  }

  async #go(state: number): Promise<void> {
    const value = { deviceState: state, dataFd: NO_FD };
    const answer = await this.#features.trySet(Feature.MIG_DEVICE_STATE, FeatureDeviceState, value);
    if (typeof answer === 'number') {
      const reached = this.#reached();
      this.#keepSession(reached);
      throw new KernelStateError(state, reached, -answer);
    }
    this.#state = state;
    const kind = kindIn(state);
    if (answer.dataFd >= 0) this.#begin(answer.dataFd, kind);
    else this.#keepSession(state);
    if (kind !== null && this.#session === null) throw leftOver(this.#name, state);
    if (kind === 'saving' && answer.dataFd >= 0) await this.#chooseInfo();
  }

  /** "The device may be in any state along the path": asked, unless it does not even tell that. */
  #reached(): number | null {
    try {
      return this.#readState();
    } catch (error) {
      if (error instanceof KernelError) return null;
      throw error;
    }
  }

  #begin(fd: number, kind: SessionKind | null): void {
    this.close();
    // A file outside of every session: nothing says what it would be for.
    if (kind === null) this.#system.close(fd);
    else this.#session = new DataSession(this.#system, fd, kind, this.#name);
  }

  /** One session spans the whole saving group; every other change ends it. */
  #keepSession(state: number | null): void {
    if (state === null || kindIn(state) !== this.#session?.kind) this.close();
  }

  /** Only with version 2 of the information its flags mean something. It must not fail where there is only one. */
  async #chooseInfo(): Promise<void> {
    const answer = await this.#features.trySet(KernelFeature.MIG_PRECOPY_INFO_V2, NOTHING, {});
    this.#flagsAreValid = typeof answer !== 'number';
  }

  async #readPiece(maxBytes: number): Promise<number> {
    const session = this.#open('saving');
    if (!session.isReadable() && !(await this.#waitFor(session))) return 0;
    if (this.#buffer.length < maxBytes) this.#buffer = new Uint8Array(maxBytes);
    return session.read(this.#buffer.subarray(0, maxBytes));
  }

  /** @throws KernelSessionError with the state in which a failure has left the device */
  async #transfer<T>(transfer: () => Promise<T>): Promise<T> {
    try {
      return await transfer();
    } catch (error) {
      throw error instanceof KernelError ? new KernelSessionError(error, this.#reached()) : error;
    }
  }

  /** Nothing for now, while the device runs; a stopped one is waited for. */
  async #waitFor(session: DataSession): Promise<boolean> {
    if (this.#state !== MigrationState.STOP_COPY) return false;
    if (await session.waitReadable(STOPPED_MS)) return true;
    const message = `${this.#name} had no data for ${STOPPED_MS} ms although it has stopped`;
    throw new KernelError('ERR_KERNEL', message, Errno.ETIMEDOUT);
  }

  #open(kind: SessionKind): DataSession {
    if (this.#session?.kind === kind) return this.#session;
    const message = `${this.#name} has no ${kind} session here`;
    throw new KernelError('ERR_KERNEL_ARGUMENT', message, Errno.EINVAL);
  }
}

function kindIn(state: number): SessionKind | null {
  const known = parseState(state);
  return known === null ? null : sessionKind(known);
}

function leftOver(name: string, state: number): KernelError {
  const message =
    `${name} was left in ${stateName(state)} by an earlier user, and its session can't be taken over: ` +
    `reset it (ferry state ${name} --reset)`;
  return new KernelError('ERR_KERNEL_LEFT_OVER', message, Errno.EBUSY, { state: stateName(state) });
}

function lacks(why: string): KernelError {
  return new KernelError('ERR_KERNEL_LACKS', why, Errno.ENOTTY);
}
