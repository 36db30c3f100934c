import type { FerryError } from '../errors/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { Answer, Mode } from './answer.ts';
import type { ClaimStatus } from './claim-status.ts';
import type {
  DeviceDescription,
  DeviceInfo,
  IrqInfo,
  MappedRegion,
  PrecopyInfo,
  RegionInfo,
  ResetReport,
} from './descriptions.ts';
import type { GuestRegion } from './guest-memory.ts';
import type { ReconnectionChoice, ReconnectionStatus } from './reconnection.ts';
import type { RegionDoorbells } from './region-doorbells.ts';
import type { SwitchoverRequest, SwitchoverStatus } from './switchover.ts';

/** How a write travels. */
export interface WriteOptions {
  /** Send it as a posted write: no answer, so an error goes unnoticed. False by default. */
  readonly posted?: boolean;
}

/** One write of a REGION_WRITE_MULTI. */
export interface SmallWrite {
  readonly region: number;
  readonly offset: number | bigint;
  /** 1 to 8 bytes. */
  readonly data: Uint8Array;
}

/** A range of guest addresses, in bytes. */
export interface DmaRange {
  readonly iova: bigint;
  readonly length: bigint;
}

/** What DMA_UNMAP may be asked for besides the unmapping. */
export interface UnmapOptions {
  /** Also return the dirty bitmap of the region, one bit per page of this many bytes. */
  readonly dirtyPageSize?: bigint;
}

/**
 * A device as a VMM or a migration controller sees it. Both clients have these methods.
 *
 * Every method may throw (or reject with) a RemoteError: the server answered with an errno; a ProtocolError: its answer
 * breaks the protocol; a TransportError: ERR_TIMEOUT, or the connection is over; a ClientError: it was not sent.
 * Indices, offsets and lengths are in bytes; offsets may be numbers up to 2^53 - 1 or bigints.
 */
export interface DeviceMethods<M extends Mode> {
  /** What was agreed in VERSION. */
  readonly agreement: Agreement;
  /** The socket it is connected to. */
  readonly path: string;
  /** Why the connection is over; null while it lives. */
  readonly closedBecause: FerryError | null;

  /** DEVICE_GET_INFO. */
  info(): Answer<M, DeviceInfo>;
  /** DEVICE_GET_REGION_INFO. The fd that may come with it is closed: see {@link mapRegion}. */
  regionInfo(index: number): Answer<M, RegionInfo>;
  /** DEVICE_GET_IRQ_INFO. */
  irqInfo(index: number): Answer<M, IrqInfo>;
  /** Asks for everything; what the server refuses in the device's present state is left out and named. */
  describe(): Answer<M, DeviceDescription>;
  /** Maps what the server shares of a region. Throws ClientError ERR_DEVICE_LACKS when that is nothing. */
  mapRegion(index: number): Answer<M, MappedRegion>;
  /** DEVICE_GET_REGION_IO_FDS: the writes to a region that can be signalled instead of sent; none from most devices. */
  openDoorbells(index: number): Answer<M, RegionDoorbells>;

  /** Reads `length` bytes, in several messages if need be. */
  read(region: number, offset: number | bigint, length: number): Answer<M, Uint8Array>;
  /** Writes `data`, in several messages if need be. */
  write(region: number, offset: number | bigint, data: Uint8Array, options?: WriteOptions): Answer<M, void>;
  readU8(region: number, offset: number | bigint): Answer<M, number>;
  readU16(region: number, offset: number | bigint): Answer<M, number>;
  readU32(region: number, offset: number | bigint): Answer<M, number>;
  readU64(region: number, offset: number | bigint): Answer<M, bigint>;
  writeU8(region: number, offset: number | bigint, value: number, options?: WriteOptions): Answer<M, void>;
  writeU16(region: number, offset: number | bigint, value: number, options?: WriteOptions): Answer<M, void>;
  writeU32(region: number, offset: number | bigint, value: number, options?: WriteOptions): Answer<M, void>;
  writeU64(region: number, offset: number | bigint, value: bigint, options?: WriteOptions): Answer<M, void>;
  /** REGION_WRITE_MULTI: many small writes in few messages. Throws ERR_NOT_NEGOTIATED without write_multiple. */
  writeMulti(writes: readonly SmallWrite[]): Answer<M, void>;

  /** DMA_MAP: the device may use this region of guest memory, and its DMA messages are answered out of it. */
  mapMemory(region: GuestRegion): Answer<M, void>;
  /** DMA_UNMAP; the dirty bitmap if it was asked for, else null. */
  unmapMemory(region: GuestRegion, options?: UnmapOptions): Answer<M, Uint8Array | null>;
  /** DMA_UNMAP of everything. */
  unmapAll(): Answer<M, void>;

  /**
   * Gives vector `start` and the following an eventfd each, in messages of as many fds as the server takes; null in the
   * list leaves a vector without one; null instead of a list disables the whole index. The eventfds stay the caller's.
   */
  setIrq(index: number, start: number, eventfds: readonly (number | null)[] | null): Answer<M, void>;
  maskIrq(index: number, start: number, count: number): Answer<M, void>;
  unmaskIrq(index: number, start: number, count: number): Answer<M, void>;
  /** Loopback: has the server signal the eventfds of these vectors. */
  triggerIrq(index: number, start: number, count: number): Answer<M, void>;
  /** Disables the index and closes the eventfds that the client made for it. */
  disableInterrupts(index: number): Answer<M, void>;

  /**
   * Resets the device and verifies it by reading the state back, with fallbacks for servers that refuse DEVICE_RESET.
   * Throws ClientError ERR_RESET_FAILED when the device does not come back to RUNNING.
   */
  reset(): Answer<M, ResetReport>;

  /** Whether the device has a feature with all of these methods (FeatureFlag.GET, SET; 0 asks for the feature alone). */
  probeFeature(feature: number, methods: number): Answer<M, boolean>;
  /** MigrationFlag bits; null when the device does not support migration. */
  migrationFlags(): Answer<M, bigint | null>;
  /** The number of the present state, which may be one that this version does not know. */
  migrationState(): Answer<M, number>;
  /** Takes the device to a state. Throws MigrationStateError with the state that was reached. */
  setMigrationState(state: number): Answer<M, void>;
  /** What stop-copy would transfer, in bytes; null when the server does not tell. */
  migrationDataSize(): Answer<M, bigint | null>;
  /** What pre-copy still has to give; null when that was not negotiated. */
  precopyInfo(): Answer<M, PrecopyInfo | null>;
  /** What a Ferry server knows of itself, as JSON; null when that was not negotiated. */
  inspectServer(): Answer<M, unknown>;

  /**
   * What the server of a device does for a VMM that moves the guest by itself (FERRY_SWITCHOVER, docs/vm-migration.md).
   * Control socket only, where that was negotiated (`agreement.switchover`). Throws RemoteError, ClientError.
   */
  switchover(request: SwitchoverRequest): Answer<M, SwitchoverStatus>;

  /** Whose the device is; null when the server has no claims (`agreement.claim`). */
  claimStatus(): Answer<M, ClaimStatus | null>;
  /**
   * Ties the device to the migration that has this secret of 16 bytes: only the connection that claimed last changes
   * its state or its data until {@link release}, also when that connection is gone. The same token takes over with an
   * epoch that is not lower, another token with a higher one, unless the device is retired. Throws ClaimError.
   */
  claim(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus>;
  /** The device, which is in STOP_COPY or STOP, never runs again until it is released. Throws ClaimError. */
  retire(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus>;
  /** Gives the claim back; a retired device may run again. Throws ClaimError. */
  release(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus>;
  /**
   * Takes the device from whoever has it, retired or not; their epochs up to this one are void. For operators who know
   * that nobody else runs the device's state. `epoch` must be higher than the claim's. Throws ClaimError.
   */
  forceRelease(epoch: bigint): Answer<M, ClaimStatus>;

  /**
   * What becomes of the state when the VMM comes back: null only asks, `keep` and `reset` choose, `reset` and `continue`
   * also decide about a state that is kept. Control socket only. Throws RemoteError EINVAL when there is nothing to continue.
   */
  reconnection(choice: ReconnectionChoice | null): Answer<M, ReconnectionStatus>;

  /**
   * One MIG_DATA_READ of at most `maxBytes`. `consume` gets the bytes in the receive buffer: they are valid only until
   * it returns. Gives their number; 0 (without a call) is the end, in PRE_COPY only for now.
   */
  readMigrationData(maxBytes: number, consume: (chunk: Uint8Array) => void): Answer<M, number>;
  /** The same into `target`, for as many bytes as fit. */
  readMigrationDataInto(target: Uint8Array): Answer<M, number>;
  /**
   * MIG_DATA_WRITE, in several messages if need be, in the order of the calls. `bytes` may be reused when the call
   * returns: what the socket does not take at once is copied. An asynchronous client may have several under way.
   */
  writeMigrationData(bytes: Uint8Array): Answer<M, void>;

  /** Has the server log the DMA writes that go by mapped memory; no ranges: all of it. Gives the page size it uses. */
  startDmaLogging(pageSize: bigint, ranges: readonly DmaRange[]): Answer<M, bigint>;
  stopDmaLogging(): Answer<M, void>;
  /** The dirty bitmap of a range since the last report: bit i is page i, in whole u64 words. */
  dmaLog(iova: bigint, length: bigint, pageSize: bigint): Answer<M, Uint8Array>;

  /** Ends the connection and gives back what the client made: mappings, eventfds. Idempotent. */
  close(): void;
}
