import type { FerryError } from '../errors/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { Answer, Mode } from './answer.ts';
import { claimStatus, claimWith, forceRelease } from './claim.ts';
import type { ClaimStatus } from './claim-status.ts';
import { ClientError } from './client-error.ts';
import { describe } from './describe.ts';
import type {
  DeviceDescription,
  DeviceInfo,
  IrqInfo,
  MappedRegion,
  PrecopyInfo,
  RegionInfo,
  ResetReport,
} from './descriptions.ts';
import { deviceInfo, irqInfo } from './device-info.ts';
import type { DeviceMethods, DmaRange, SmallWrite, UnmapOptions, WriteOptions } from './device-methods.ts';
import { dmaLog, startDmaLogging, stopDmaLogging } from './dma-logging.ts';
import { probeFeature } from './feature.ts';
import type { GuestRegion } from './guest-memory.ts';
import { IrqEventfds } from './irq-eventfds.ts';
import { actOnIrq, disableIrq, IrqAction, setEventfds } from './irq-setup.ts';
import { mapMemory, unmapAll, unmapMemory } from './memory-mapping.ts';
import { readMigrationData } from './migration-data.ts';
import { MigrationDataWriter } from './migration-data-writer.ts';
import { migrationDataSize, migrationFlags, migrationState, setMigrationState } from './migration-state.ts';
import type { Operation, Settle } from './operation.ts';
import { type ReconnectionChoice, type ReconnectionStatus, reconnection } from './reconnection.ts';
import { readRegion, writeMany, writeRegion, writeRequests } from './region-access.ts';
import { openDoorbells, type RegionDoorbells } from './region-doorbells.ts';
import { regionInfo } from './region-info.ts';
import { mapRegion } from './region-mapping.ts';
import {
  type RegisterSize,
  readRegister,
  readWideRegister,
  registerBytes,
  writeRegister,
} from './register-value.ts';
import { resetDevice } from './reset-ladder.ts';
import { runOperation } from './run-operation.ts';
import { inspectServer, precopyInfo } from './server-inspection.ts';
import type { Session } from './session.ts';
import { type SwitchoverRequest, type SwitchoverStatus, switchover } from './switchover.ts';

type Offset = number | bigint;

/** The methods of both clients, written once: how an operation's result is waited for is all that differs. */
export abstract class DeviceBase<M extends Mode> implements DeviceMethods<M> {
  readonly agreement: Agreement;
  protected readonly session: Session;
  protected readonly eventfds: IrqEventfds;
  /** What the client opened of regions and nobody may have closed. */
  readonly #opened = new Set<{ close(): void }>();
  readonly #writer: MigrationDataWriter;

  protected constructor(session: Session) {
    const { link, limits } = session;
    this.session = session;
    this.agreement = session.agreement;
    this.eventfds = new IrqEventfds(link.native);
    this.#writer = new MigrationDataWriter(link.requester, limits.write, limits.writesInFlight);
  }

  /** Starts something, and waits for what it settles with in the client's own way. */
  protected abstract answer<T>(start: (settle: Settle<T>) => void): Answer<M, T>;

  protected run<T>(operation: Operation<T>): Answer<M, T> {
    return this.answer<T>((settle) => runOperation(operation, this.session.link.requester, settle));
  }

  get path(): string {
    return this.session.link.path;
  }

  get closedBecause(): FerryError | null {
    return this.session.link.connection.closedBecause;
  }

  info(): Answer<M, DeviceInfo> {
    return this.run(deviceInfo());
  }

  regionInfo(index: number): Answer<M, RegionInfo> {
    return this.run(regionInfo(this.session.link.native, this.session.limits, index));
  }

  irqInfo(index: number): Answer<M, IrqInfo> {
    return this.run(irqInfo(index));
  }

  describe(): Answer<M, DeviceDescription> {
    const { link, limits, agreement } = this.session;
    return this.run(describe({ native: link.native, limits, agreement }));
  }

  mapRegion(index: number): Answer<M, MappedRegion> {
    return this.run(this.#mapAndKeep(index));
  }

  *#mapAndKeep(index: number): Operation<MappedRegion> {
    const region = yield* mapRegion(this.session.link.native, this.session.limits, index);
    this.#opened.add(region);
    return region;
  }

  openDoorbells(index: number): Answer<M, RegionDoorbells> {
    return this.run(this.#openAndKeep(index));
  }

  *#openAndKeep(index: number): Operation<RegionDoorbells> {
    const doorbells = yield* openDoorbells(this.session.link.native, this.session.limits, index);
    this.#opened.add(doorbells);
    return doorbells;
  }

  read(region: number, offset: Offset, length: number): Answer<M, Uint8Array> {
    return this.run(readRegion(this.session.limits, region, offset, length));
  }

  write(region: number, offset: Offset, data: Uint8Array, options: WriteOptions = {}): Answer<M, void> {
    const { limits, link } = this.session;
    if (options.posted !== true) return this.run(writeRegion(limits, region, offset, data));
    return this.answer<void>((settle) =>
      link.requester.post(writeRequests(limits, region, offset, data), settle),
    );
  }

  readU8(region: number, offset: Offset): Answer<M, number> {
    return this.run(readRegister(this.session.limits, region, offset, 1));
  }

  readU16(region: number, offset: Offset): Answer<M, number> {
    return this.run(readRegister(this.session.limits, region, offset, 2));
  }

  readU32(region: number, offset: Offset): Answer<M, number> {
    return this.run(readRegister(this.session.limits, region, offset, 4));
  }

  readU64(region: number, offset: Offset): Answer<M, bigint> {
    return this.run(readWideRegister(this.session.limits, region, offset));
  }

  writeU8(region: number, offset: Offset, value: number, options?: WriteOptions): Answer<M, void> {
    return this.#writeRegister(region, offset, 1, value, options);
  }

  writeU16(region: number, offset: Offset, value: number, options?: WriteOptions): Answer<M, void> {
    return this.#writeRegister(region, offset, 2, value, options);
  }

  writeU32(region: number, offset: Offset, value: number, options?: WriteOptions): Answer<M, void> {
    return this.#writeRegister(region, offset, 4, value, options);
  }

  writeU64(region: number, offset: Offset, value: bigint, options?: WriteOptions): Answer<M, void> {
    return this.#writeRegister(region, offset, 8, value, options);
  }

  #writeRegister(
    region: number,
    offset: Offset,
    size: RegisterSize,
    value: number | bigint,
    options: WriteOptions = {},
  ): Answer<M, void> {
    const { limits, link } = this.session;
    if (options.posted !== true) return this.run(writeRegister(limits, region, offset, size, value));
    return this.answer<void>((settle) =>
      link.requester.post(writeRequests(limits, region, offset, registerBytes(size, value)), settle),
    );
  }

  writeMulti(writes: readonly SmallWrite[]): Answer<M, void> {
    return this.run(this.#writeMulti(writes));
  }

  *#writeMulti(writes: readonly SmallWrite[]): Operation<void> {
    if (!this.agreement.writeMultiple) {
      throw new ClientError('ERR_NOT_NEGOTIATED', 'the server does not take REGION_WRITE_MULTI');
    }
    yield* writeMany(this.session.limits, writes);
  }

  mapMemory(region: GuestRegion): Answer<M, void> {
    return this.run(mapMemory(this.session.limits, this.session.link.memory, region));
  }

  unmapMemory(region: GuestRegion, options: UnmapOptions = {}): Answer<M, Uint8Array | null> {
    const { limits, link } = this.session;
    return this.run(unmapMemory(limits, link.memory, region, options.dirtyPageSize));
  }

  unmapAll(): Answer<M, void> {
    return this.run(unmapAll(this.session.link.memory));
  }

  setIrq(index: number, start: number, eventfds: readonly (number | null)[] | null): Answer<M, void> {
    if (eventfds === null) return this.run(disableIrq(index));
    return this.run(setEventfds(this.session.limits, index, start, eventfds));
  }

  maskIrq(index: number, start: number, count: number): Answer<M, void> {
    return this.run(actOnIrq(IrqAction.MASK, index, start, count));
  }

  unmaskIrq(index: number, start: number, count: number): Answer<M, void> {
    return this.run(actOnIrq(IrqAction.UNMASK, index, start, count));
  }

  triggerIrq(index: number, start: number, count: number): Answer<M, void> {
    return this.run(actOnIrq(IrqAction.TRIGGER, index, start, count));
  }

  disableInterrupts(index: number): Answer<M, void> {
    return this.run(this.#disableAndRelease(index));
  }

  *#disableAndRelease(index: number): Operation<void> {
    try {
      yield* disableIrq(index);
    } finally {
      this.eventfds.release(index);
    }
  }

  /** Makes eventfds for the first `count` vectors of an index and gives them to the server. */
  protected *giveEventfds(index: number, count: number): Operation<void> {
    try {
      const fds = this.eventfds.create(index, count);
      yield* setEventfds(this.session.limits, index, 0, fds);
    } catch (error) {
      this.eventfds.release(index);
      throw error;
    }
  }

  reset(): Answer<M, ResetReport> {
    return this.run(resetDevice());
  }

  probeFeature(feature: number, methods: number): Answer<M, boolean> {
    return this.run(probeFeature(feature, methods));
  }

  migrationFlags(): Answer<M, bigint | null> {
    return this.run(migrationFlags());
  }

  migrationState(): Answer<M, number> {
    return this.run(migrationState());
  }

  setMigrationState(state: number): Answer<M, void> {
    return this.run(setMigrationState(state));
  }

  migrationDataSize(): Answer<M, bigint | null> {
    return this.run(migrationDataSize());
  }

  precopyInfo(): Answer<M, PrecopyInfo | null> {
    return this.run(precopyInfo(this.agreement));
  }

  claimStatus(): Answer<M, ClaimStatus | null> {
    return this.run(claimStatus(this.agreement));
  }

  claim(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(claimWith(this.agreement, 'CLAIM', token, epoch));
  }

  retire(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(claimWith(this.agreement, 'RETIRE', token, epoch));
  }

  release(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(claimWith(this.agreement, 'RELEASE', token, epoch));
  }

  forceRelease(epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(forceRelease(this.agreement, epoch));
  }

  reconnection(choice: ReconnectionChoice | null): Answer<M, ReconnectionStatus> {
    return this.run(reconnection(this.agreement, choice));
  }

  switchover(request: SwitchoverRequest): Answer<M, SwitchoverStatus> {
    return this.run(switchover(this.agreement, request));
  }

  inspectServer(): Answer<M, unknown> {
    return this.run(inspectServer(this.agreement, this.session.limits));
  }

  readMigrationData(maxBytes: number, consume: (chunk: Uint8Array) => void): Answer<M, number> {
    return this.run(readMigrationData(this.session.limits, maxBytes, consume));
  }

  readMigrationDataInto(target: Uint8Array): Answer<M, number> {
    return this.readMigrationData(target.length, (chunk) => target.set(chunk));
  }

  writeMigrationData(bytes: Uint8Array): Answer<M, void> {
    return this.answer<void>((settle) => this.#writer.write(bytes, settle));
  }

  startDmaLogging(pageSize: bigint, ranges: readonly DmaRange[]): Answer<M, bigint> {
    return this.run(startDmaLogging(pageSize, ranges));
  }

  stopDmaLogging(): Answer<M, void> {
    return this.run(stopDmaLogging());
  }

  dmaLog(iova: bigint, length: bigint, pageSize: bigint): Answer<M, Uint8Array> {
    return this.run(dmaLog(this.session.limits, iova, length, pageSize));
  }

  close(): void {
    const { link } = this.session;
    link.connection.close(new ClientError('ERR_CLIENT_CLOSED', 'the client has been closed'));
    for (const opened of this.#opened) opened.close();
    this.#opened.clear();
    this.eventfds.releaseAll();
  }
}
