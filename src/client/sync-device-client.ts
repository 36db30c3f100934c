import { loadNative } from '../native/index.ts';
import { DedicatedReactor } from '../transport/index.ts';
import { ClientError } from './client-error.ts';
import { type ClientOptions, DEFAULT_TIMEOUT_MS } from './client-options.ts';
import { DeviceBase } from './device-base.ts';
import type { WriteOptions } from './device-methods.ts';
import { InterruptWait } from './interrupt-wait.ts';
import type { Settle } from './operation.ts';
import { runOperation } from './run-operation.ts';
import { openLink, openSession, type Session } from './session.ts';
import { SyncRegisters } from './sync-registers.ts';
import { SyncWaiter } from './sync-waiter.ts';

type Offset = number | bigint;

/**
 * A device as a VMM sees it whose thread waits for each answer: every method returns its result. While it waits, and
 * only then, the device's DMA messages are answered.
 */
export class SyncDeviceClient extends DeviceBase<'sync'> {
  readonly #waiter: SyncWaiter;
  readonly #registers: SyncRegisters;
  readonly #interruptWait: InterruptWait;

  private constructor(session: Session, waiter: SyncWaiter, timeoutMs: number) {
    super(session);
    this.#waiter = waiter;
    this.#interruptWait = new InterruptWait(session.link.native, waiter.reactor, session.link);
    this.#registers = new SyncRegisters(session.link.connection, waiter, timeoutMs);
  }

  /** Connects to a server and settles VERSION with it. Throws what DeviceClient.connect rejects with. */
  static connect(path: string, options: ClientOptions<DedicatedReactor> = {}): SyncDeviceClient {
    const { native = loadNative(), timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const reactor = options.reactor ?? new DedicatedReactor(native);
    const waiter = new SyncWaiter(reactor, timeoutMs);
    const link = openLink(path, options, native, reactor);
    try {
      const session = waiter.settle<Session>((settle) =>
        runOperation(openSession(link, options), link.requester, settle),
      );
      return new SyncDeviceClient(session, waiter, timeoutMs);
    } catch (error) {
      link.connection.close();
      throw error;
    }
  }

  override readU8(region: number, offset: Offset): number {
    return this.#registers.read(region, offset, 1);
  }

  override readU16(region: number, offset: Offset): number {
    return this.#registers.read(region, offset, 2);
  }

  override readU32(region: number, offset: Offset): number {
    return this.#registers.read(region, offset, 4);
  }

  override readU64(region: number, offset: Offset): bigint {
    return this.#registers.readWide(region, offset);
  }

  override writeU8(region: number, offset: Offset, value: number, options?: WriteOptions): void {
    this.#registers.write(region, offset, 1, value, options?.posted === true);
  }

  override writeU16(region: number, offset: Offset, value: number, options?: WriteOptions): void {
    this.#registers.write(region, offset, 2, value, options?.posted === true);
  }

  override writeU32(region: number, offset: Offset, value: number, options?: WriteOptions): void {
    this.#registers.write(region, offset, 4, value, options?.posted === true);
  }

  override writeU64(region: number, offset: Offset, value: bigint, options?: WriteOptions): void {
    this.#registers.write(region, offset, 8, value, options?.posted === true);
  }

  /** Enables the first `count` vectors of an index, for {@link waitInterrupt}. Those it had before are given up. */
  enableInterrupts(index: number, count: number): void {
    this.run(this.giveEventfds(index, count));
  }

  /**
   * Waits for at most `timeoutMs` for a vector to fire; returns how often it has since the last time, 0 when it has
   * not. The device's DMA messages are answered meanwhile. Throws what ended the connection.
   */
  waitInterrupt(index: number, vector: number, timeoutMs: number): number {
    const eventfd = this.eventfds.of(index, vector);
    if (eventfd !== undefined) return this.#wait(eventfd, timeoutMs);
    const message = `vector ${vector} of interrupt index ${index} is not enabled`;
    throw new ClientError('ERR_CLIENT_ARGUMENT', message, { index, vector });
  }

  /** Answers the device's DMA messages for `ms` milliseconds. Throws what ended the connection. */
  serve(ms: number): void {
    this.#wait(null, ms);
  }

  #wait(eventfd: number | null, timeoutMs: number): number {
    this.#waiter.enter();
    try {
      return this.#interruptWait.wait(eventfd, timeoutMs);
    } finally {
      this.#waiter.leave();
    }
  }

  protected override answer<T>(start: (settle: Settle<T>) => void): T {
    const { connection } = this.session.link;
    const value = this.#waiter.settle(start);
    // Posted writes settle before they are sent, and nobody would send them after this.
    if (connection.out.pending > 0) this.#waiter.drain(connection);
    return value;
  }
}
