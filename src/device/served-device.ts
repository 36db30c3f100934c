import type { FerryError } from '../errors/index.ts';
import type { AddressSpace } from '../memory/index.ts';
import type { Native } from '../native/index.ts';
import type { ConfigurationMode } from '../protocol/index.ts';
import type { MigrationState } from '../states/index.ts';
import type { PrecopyInfo } from '../stream/index.ts';
import type { DeviceHandover } from './device-handover.ts';
import type { Doorbell } from './doorbell.ts';
import type { InterruptController } from './interrupt-controller.ts';
import type { IrqDescription } from './interrupt-line.ts';
import type { Log } from './log.ts';
import type { PciIdentity } from './pci-identity.ts';
import type { FunctionResetReason, ResetReason } from './reset-reason.ts';

/** A range of a region, in bytes. */
export interface RegionArea {
  readonly offset: number;
  readonly size: number;
}

/** What of a region a client may map instead of sending messages. */
export interface SharedRegion {
  /**
   * The memfd, which the device owns; the region begins at {@link fileOffset}. Call it for every client that is given the fd,
   * and not before: from the first call on the memory may be written unseen, which costs a migration a comparison.
   */
  expose(): number;
  /** The parts that may be mapped, ascending and page-aligned; the whole region when {@link whole}. */
  readonly areas: readonly RegionArea[];
  /** All of the region may be mapped, so that no sparse capability is needed. */
  readonly whole: boolean;
  /** Where in the file the region begins, in bytes; 0 unless given. */
  readonly fileOffset?: bigint;
}

/** One VFIO region. An index that the device lacks is a region of size 0. */
export interface Region {
  readonly index: number;
  /** Bytes, up to 2^53 - 1. */
  readonly size: number;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Null when nothing of it can be mapped. */
  readonly shared: SharedRegion | null;
  /** Writes that a client may signal through eventfds, for whoever serves the device to hand out and watch. */
  readonly doorbells?: readonly Doorbell[];
  /** It is in the I/O space; absent where it is not. */
  readonly ports?: boolean;
  /**
   * Reads `length` bytes at `offset` into `target[at...]`. The caller has checked that they lie inside the region.
   * Synchronous always. Throws DeviceError (its errno goes to the client); `target` may be partly filled then.
   */
  read(offset: number, target: Uint8Array, at: number, length: number): void;
  /** Writes `length` bytes of `source[at...]` at `offset`; otherwise as {@link read}. */
  write(offset: number, source: Uint8Array, at: number, length: number): void;
  /**
   * How this write would reset the function, null when it would not: Initiate FLR of PCI Express, or D3hot to D0 without No_Soft_Reset.
   * Whoever serves the device writes and then calls {@link ServedDevice.reset}, by the rules of a device reset from
   * the same client. Absent where no write does.
   */
  initiatesReset?(offset: number, source: Uint8Array, at: number, length: number): FunctionResetReason | null;
}

/** A timer that can be stopped; stopping it twice is harmless. */
export interface TimerHandle {
  close(): void;
}

/** The clock of whoever serves the device. */
export interface TimerHost {
  /** Calls `run` once after `ms` milliseconds; 0 means soon, never within the call. */
  after(ms: number, run: () => void): TimerHandle;
  /** Calls `run` every `ms` milliseconds. */
  every(ms: number, run: () => void): TimerHandle;
}

/** What a device is given by whoever serves it. */
export interface DeviceHost {
  readonly native: Native;
  /** Guest memory of the main connection; empty while nobody is connected. */
  readonly memory: AddressSpace;
  readonly timers: TimerHost;
  /** `dedicated` serves on a thread that blocks: nothing asynchronous ever completes there. */
  readonly mode: 'event-loop' | 'dedicated';
  /** Takes errors of the device's own activity (timers, work), which no request is there to answer for. */
  report(error: FerryError): void;
  /** Where the device logs; absent: nowhere. */
  readonly log?: Log;
}

/**
 * How a device migrates. The one that PciDevice makes follows from the declared state; authors with special needs
 * write their own. It never learns of sockets: whoever serves the device checks that a request suits the state.
 */
export interface DeviceMigration {
  /** MigrationFlag bits; 0: the device can't migrate, and nothing else here is called but {@link reset}. */
  readonly flags: number;
  /**
   * How the configuration space has to travel. Absent: in the bytes of {@link read}. Otherwise whoever moves the device
   * reads it there, and writes it here, in RESUMING (in STOP what was withheld), as software writes it.
   */
  readonly configuration?: ConfigurationMode;
  /**
   * Sessions that begin from now on leave out these memory blocks (qualified names), because another process of this host
   * goes on with the same memory. Absent: that can't be done.
   */
  lend?(blocks: readonly string[]): void;
  /** Carries out one arc of the machine for {@link flags}. A throw or rejection leaves the device in `from`. */
  arc(from: MigrationState, to: MigrationState): void | Promise<void>;
  /**
   * The next bytes of the saving session: never fewer than fit while there is data; 0 is the end, in the PRE_COPY
   * states only for now. Throws DeviceError.
   */
  read(target: Uint8Array): number;
  /**
   * The next bytes of the saving session where they are, instead of a copy of them: at most `limit`, and fewer only at
   * the end; null when {@link read} is to be used. They must not change before this process waits for anything.
   */
  view?(limit: number): Uint8Array | null;
  /** Takes all of `data` into the resuming session, or throws: then the session is of no use any more. */
  write(data: Uint8Array): void;
  /** Only asked for in PRE_COPY and PRE_COPY_P2P. */
  precopyInfo(): PrecopyInfo;
  /** An upper bound of the bytes that stop-copy would yield now (VFIO_DEVICE_FEATURE_MIG_DATA_SIZE). Any state. */
  dataSize(): bigint;
  /** Ends any session without applying it. The device is RUNNING afterwards; it resets the rest by itself. */
  reset(): void;
}

/** What a served device tells about itself; every value is JSON. */
export interface DeviceInspection {
  /** Whether its timers tick. */
  readonly running: boolean;
  /** Whether it may start DMA and work. */
  readonly mayInitiateDma: boolean;
  /** Whether the author's `work` is in progress. */
  readonly working: boolean;
  /** DMA operations that are not complete. */
  readonly outstandingDma: number;
  readonly interrupts: {
    /** What an interrupt would be delivered as now. */
    readonly mode: 'intx' | 'msi' | 'msix' | 'none';
    /** INTx is asserted. */
    readonly level: boolean;
    /** Vectors that wait for a trigger or for their mask. */
    readonly pendingMsi: readonly number[];
    readonly pendingMsix: readonly number[];
    /** Delivery is on hold. */
    readonly held: boolean;
  };
  /** What is wrong with it that no client was told, or that clients ignore, in words for people. */
  readonly health?: readonly string[];
}

/** Somebody else who signals the interrupts of a device, such as the kernel. */
export interface InterruptPassage {
  /** GET_IRQ_INFO. Throws what has an errno for an index that does not exist. */
  info(index: number): IrqDescription;
  /** Vectors from `start` on get their eventfds, which stay the server's until they are replaced; null takes one away. */
  assign(index: number, start: number, eventfds: readonly (number | null)[]): void;
  /** Switches an index off. */
  disable(index: number): void;
  /** For all vectors of the range, or those that are chosen. */
  act(action: 'mask' | 'unmask' | 'trigger', index: number, start: number, chosen: readonly boolean[]): void;
}

/** A device as the server sees it: bound to its host, all parts made. */
export interface ServedDevice {
  readonly identity: Required<PciIdentity>;
  /** By index, VFIO_PCI_NUM_REGIONS (9) of them. */
  readonly regions: readonly Region[];
  readonly interrupts: InterruptController;
  /** Who signals its interrupts, if not {@link interrupts}: eventfds then go there. */
  readonly passage?: InterruptPassage;
  /** False: it can't be reset, and clients are not told that it could. */
  readonly resettable?: boolean;
  readonly migration: DeviceMigration;
  /** Its work is asynchronous: it can't be served in dedicated mode. */
  readonly asynchronous: boolean;
  /**
   * Device reset, from any state: aborts the migration session, abandons DMA that is under way (its promises reject),
   * resets the configuration space, interrupts and declared fields, and runs the device. What the main connection
   * owns (triggers, masks, DMA maps) stays. Waits only for the author's `work` to return, never for a peer. `device`
   * is the reason unless another is given.
   */
  reset(reason?: ResetReason): void | Promise<void>;
  /** How it passes to another process of this host; absent: it does not. */
  readonly handover?: DeviceHandover;
  /** Whether whoever serves it resets it when its main connection has gone, by the rules of a reset from there. */
  readonly resetsOnDisconnect?: boolean;
  /** The main connection is gone: its triggers and masks are dropped; all device state stays. Its maps went before. */
  disconnected(): void;
  /** Stops timers and gives back memory and fds. The device is of no use afterwards. Idempotent. */
  close(): void;
  inspect(): DeviceInspection;
}

/** Anything that can be served; PciDevice is one. */
export interface BindableDevice {
  /** Makes the device's parts on this host. Once per device. Throws DeviceError when a declaration is wrong. */
  bind(host: DeviceHost): ServedDevice;
}
