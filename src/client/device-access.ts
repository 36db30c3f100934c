import type { Answer, Mode } from './answer.ts';
import { ClientError } from './client-error.ts';
import { describe } from './describe.ts';
import type {
  DeviceDescription,
  DeviceInfo,
  IrqInfo,
  MappedRegion,
  RegionInfo,
  ResetReport,
} from './descriptions.ts';
import { deviceInfo, irqInfo } from './device-info.ts';
import type { SmallWrite, UnmapOptions, WriteOptions } from './device-methods.ts';
import type { GuestRegion } from './guest-memory.ts';
import { IrqEventfds } from './irq-eventfds.ts';
import { actOnIrq, disableIrq, IrqAction, setEventfds } from './irq-setup.ts';
import { mapMemory, unmapAll, unmapMemory } from './memory-mapping.ts';
import type { Operation } from './operation.ts';
import { Operations } from './operations.ts';
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
import type { Session } from './session.ts';

type Offset = number | bigint;

/** A device as its driver has it: regions, registers, guest memory, interrupts, reset. */
export abstract class DeviceAccess<M extends Mode> extends Operations<M> {
  protected readonly eventfds: IrqEventfds;
  /** What the client opened of regions and nobody may have closed. */
  readonly #opened = new Set<{ close(): void }>();

  protected constructor(session: Session) {
    super(session);
    this.eventfds = new IrqEventfds(session.link.native);
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

  close(): void {
    const { link } = this.session;
    link.connection.close(new ClientError('ERR_CLIENT_CLOSED', 'the client has been closed'));
    for (const opened of this.#opened) opened.close();
    this.#opened.clear();
    this.eventfds.releaseAll();
  }
}
