import type { DmaRange } from '../memory/index.ts';
import { IrqIndex } from '../protocol/index.ts';
import type { Bar, Bars, MemoryBarOptions, RegisterBarOptions } from './bar.ts';
import { boundTwice, declaredTwice, notBound, tooAsynchronous } from './binding-error.ts';
import { draw } from './blueprint.ts';
import { BoundDevice, type DeviceHooks } from './bound-device.ts';
import { CallbackContent, type RegionCallbacks } from './callback-content.ts';
import type { ConfigAccess } from './config-access.ts';
import { DeclaredMigration, type MigrationServices } from './declared-migration.ts';
import type { DeviceDma } from './device-dma.ts';
import { NO_POSSESSIONS, type Possessions } from './device-handover.ts';
import type { DeviceOptions } from './device-options.ts';
import { DeviceTimers } from './device-timers.ts';
import type { InterruptDeclaration } from './interrupt-declaration.ts';
import type { IrqMaskChange } from './irq-mask.ts';
import { Log } from './log.ts';
import { makeBar } from './make-bar.ts';
import { MemoryContent, sharedAreas } from './memory-content.ts';
import type { PciIdentity } from './pci-identity.ts';
import { RegisterBank } from './register-bank.ts';
import type { RegisterMap } from './registers.ts';
import type { ResetReason } from './reset-reason.ts';
import type {
  BindableDevice,
  DeviceHost,
  DeviceMigration,
  ServedDevice,
  TimerHandle,
} from './served-device.ts';
import {
  declareState,
  type LiveState,
  type MemoryBlock,
  type StateOptions,
  type StatePart,
  type StateShape,
} from './state/index.ts';
import { isAsyncFunction, type Synchronous } from './synchronous.ts';

/**
 * A PCI device. Extend it, declare what the device is, and write what it does:
 *
 *     class Counter extends PciDevice {
 *       readonly identity = { kind: 'counter', vendor: 0x494f, device: 0x0dc8, classCode: 0xff0000 };
 *       readonly state = this.migratable({ ticks: u32(), period: u32({ initial: 100 }) });
 *       readonly bars = {
 *         0: this.registers(4096, {
 *           0x00: readOnly(() => this.state.ticks),
 *           0x04: field(this.state, 'period'),
 *         }),
 *       };
 *       readonly interrupts = { msix: 1 };
 *       readonly timer = this.every(10, () => {
 *         this.state.ticks += 1;
 *         if (this.state.ticks % this.state.period === 0) this.raise();
 *       });
 *     }
 *
 * Reset, migration, dirty tracking, configuration space and interrupt delivery follow from the declarations. The
 * rules: everything that matters is in the declared state; callbacks are synchronous; what needs DMA or time happens
 * in {@link work}, which looks at the state to see what is to be done.
 */
export abstract class PciDevice implements BindableDevice {
  /** Who the device is. */
  abstract readonly identity: PciIdentity;
  /** Its BARs by index, made by {@link registers}, {@link memoryBar} and {@link callbacks}. */
  abstract readonly bars: Bars;
  /** Its interrupts; `{}` for none. */
  abstract readonly interrupts: InterruptDeclaration;
  /** PCI Express, power management, bus mastering, ROM, further capabilities. */
  readonly options: DeviceOptions = {};
  /**
   * Whether {@link work} takes time (returns a promise). Found out by itself for an `async work()`; say so where it
   * returns a promise otherwise. Such a device can't be served in dedicated mode.
   */
  readonly asynchronous: boolean | undefined = undefined;

  readonly #timers = new DeviceTimers();
  #state: StatePart | null = null;
  #bound: BoundDevice | null = null;

  /**
   * Makes the device's parts on `host` and runs it. Throws DeviceError: ERR_DEVICE_DECLARATION, ERR_DEVICE_BOUND when
   * it has been bound before, ERR_DEVICE_ASYNCHRONOUS for an asynchronous device in dedicated mode.
   */
  bind(host: DeviceHost): ServedDevice {
    if (this.#bound !== null) throw boundTwice(this.identity.kind);
    const asynchronous = this.asynchronous ?? isAsyncFunction(this.work);
    if (asynchronous && host.mode === 'dedicated') throw tooAsynchronous(this.identity.kind);
    const bound = new BoundDevice(
      {
        blueprint: draw(this),
        state: this.#state,
        timers: this.#timers,
        asynchronous,
        requireBusMaster: this.options.requireBusMaster ?? false,
        resetOnDisconnect: this.options.resetOnDisconnect ?? false,
        hooks: this.#hooks(),
      },
      host,
    );
    this.#bound = bound;
    bound.start();
    return bound;
  }

  // ---- declarations

  /**
   * Declares the state: what a migration moves and a reset restores. Returns the live object, whose values are read
   * and assigned. Once per device; a device without it can't migrate.
   */
  protected migratable<const S extends StateShape>(shape: S, options: StateOptions<S> = {}): LiveState<S> {
    if (this.#state !== null) throw declaredTwice();
    const declared = declareState(shape, options);
    this.#state = declared;
    return declared.state;
  }

  /** A BAR of `size` bytes (a power of two) made of registers by their offset. */
  protected registers(size: number, map: RegisterMap, options: RegisterBarOptions = {}): Bar {
    return makeBar(size, new RegisterBank(size, map), options, options.doorbells);
  }

  /** A BAR that is a memory block of the state, which has a power of two of bytes. */
  protected memoryBar(block: MemoryBlock, { mmap, ...options }: MemoryBarOptions = {}): Bar {
    const areas = sharedAreas(block.size, mmap);
    if (areas.length > 0) block.share();
    const sharing = areas.length > 0 ? { block, areas } : null;
    return { ...makeBar(block.size, new MemoryContent(block), options), sharing };
  }

  /** A BAR of `size` bytes (a power of two) behind callbacks, for what registers can't express. */
  protected callbacks(size: number, callbacks: RegionCallbacks, options: RegisterBarOptions = {}): Bar {
    return makeBar(size, new CallbackContent(callbacks), options, options.doorbells);
  }

  // ---- behaviour, to be overridden

  /**
   * Does what the state says is to be done. Called after {@link kick}, as soon as the current callback has returned,
   * and whenever the device begins to run: at first, after a reset, after a migration. Never while it is in progress,
   * and only while the device may initiate DMA. A migration waits until it returns: long work looks at
   * {@link quiescing} and stops at a consistent point, to go on when it is called again, here or at the destination.
   */
  protected work(): void | Promise<void> {}

  /** After a reset of the declared state, for what is derived from it; and why it was reset. */
  protected onReset(_reason: ResetReason): void {}

  /** After a migrated state has been loaded, for what is derived from it. */
  protected onRestored(): void {}

  /** The VMM's connection has ended; its maps and triggers are gone. See also `resetOnDisconnect` in {@link options}. */
  protected onDisconnect(): void {}

  /** Guest memory has been mapped, in whatever state the device is: whether it may be used is for {@link dma} to say. */
  protected onDmaMap(_range: DmaRange): void {}

  /**
   * Guest memory is about to be unmapped, also because the VMM has gone: it can still be reached, for the last time.
   * Let go of what is kept of it, such as a view. What is written now may be too late for a dirty bitmap.
   */
  protected onDmaUnmap(_range: DmaRange): void {}

  /** The VMM has masked or unmasked vectors by SET_IRQS. Nothing needs to be done: delivery keeps to it. */
  protected onIrqMask(_change: IrqMaskChange): void {}

  /**
   * Answers every read of the configuration space by a client, of any size and alignment: fills `target[at]` to
   * `target[at + length - 1]`. Overrides see all of them, and let `super` answer those that they don't.
   */
  protected readConfiguration(offset: number, target: Uint8Array, at: number, length: number): Synchronous {
    this.#parts().space.read(offset, target, at, length);
  }

  /**
   * Takes every write to the configuration space by a client, otherwise as {@link readConfiguration}. A write that
   * initiates a reset of the function does so all the same. What an override keeps from `super` did not happen to
   * interrupts, power management and capabilities: keep it in the declared state.
   */
  protected writeConfiguration(offset: number, source: Uint8Array, at: number, length: number): Synchronous {
    this.#parts().space.write(offset, source, at, length);
  }

  /**
   * Another process of this host goes on with the device, which has stopped. Gives what this process holds for it beside
   * its state, such as the socket of a line: the fds stay the device's here, to be used again when {@link work} is called. A
   * throw keeps the device here.
   */
  protected onHandOver(): Possessions {
    return NO_POSSESSIONS;
  }

  /**
   * This process goes on with the device: takes what {@link onHandOver} of the one before has given, whose version may be
   * older. The state is there; the device does not run yet, and may go on in the other process after all, so nothing may
   * be done with the fds before {@link work} is called. They are the device's from now on.
   */
  protected onTakeOver(_possessions: Possessions): void {}

  /** How the device migrates; by default as its state declares. Override it to write the hooks by hand. */
  protected createMigration(services: MigrationServices): DeviceMigration {
    return new DeclaredMigration(services);
  }

  // ---- services

  /** Guest memory. */
  protected get dma(): DeviceDma {
    return this.#parts().run.dma;
  }

  /** The registers of its configuration space, by name. */
  protected get configuration(): ConfigAccess {
    return this.#parts().config;
  }

  /** The log of whoever serves the device. Before it is served nothing is logged. */
  protected get logger(): Log {
    return this.#bound?.log ?? Log.OFF;
  }

  /** Whether the device may start no DMA now, or soon no more: work comes to a point where it can be interrupted. */
  protected get quiescing(): boolean {
    return !this.#parts().run.mayInitiateDma;
  }

  /** Whether the device stops, or is loaded, in order to be handed over to another process of this host. */
  protected get handingOver(): boolean {
    return this.#bound?.handover.underWay ?? false;
  }

  /** Asks for {@link work}. Before the device is served that comes by itself, as work is called when it begins to run. */
  protected kick(): void {
    this.#bound?.run.kick();
  }

  /** Raises an interrupt: an MSI-X or MSI vector, or INTx, which stays asserted until {@link lower}. */
  protected raise(vector = 0): void {
    const { interrupts, run } = this.#parts();
    if (!run.halting) interrupts.raise(vector);
  }

  /** Deasserts INTx; nothing for MSI and MSI-X. */
  protected lower(): void {
    this.#parts().interrupts.lower();
  }

  /** Tells the VMM that the device has failed beyond repair (the ERR interrupt). */
  protected raiseError(): void {
    this.#parts().interrupts.notify(IrqIndex.ERR);
  }

  /** Asks the VMM to give the device back (the REQ interrupt). */
  protected requestRelease(): void {
    this.#parts().interrupts.notify(IrqIndex.REQ);
  }

  /** Calls `run` every `ms` milliseconds while the device runs. May be called in the constructor. */
  protected every(ms: number, run: () => Synchronous): TimerHandle {
    return this.#timers.every(ms, () => this.#parts().run.run('timer', run));
  }

  /**
   * Calls `run` once after `ms` milliseconds of running. It does not travel: after a reset or a migration it is gone,
   * so note in the state that something is due, and start the timer anew in {@link work}.
   */
  protected after(ms: number, run: () => Synchronous): TimerHandle {
    return this.#timers.after(ms, () => this.#parts().run.run('timer', run));
  }

  #parts(): BoundDevice {
    if (this.#bound !== null) return this.#bound;
    throw notBound();
  }

  #hooks(): DeviceHooks {
    return {
      work: () => this.work(),
      onReset: (reason) => this.onReset(reason),
      onRestored: () => this.onRestored(),
      onDisconnect: () => this.onDisconnect(),
      onDmaMap: (range) => this.onDmaMap(range),
      onDmaUnmap: (range) => this.onDmaUnmap(range),
      onIrqMask: (change) => this.onIrqMask(change),
      configuration: {
        read: (offset, target, at, length) => this.readConfiguration(offset, target, at, length),
        write: (offset, source, at, length) => this.writeConfiguration(offset, source, at, length),
      },
      createMigration: (services) => this.createMigration(services),
      handover: { give: () => this.onHandOver(), take: (possessions) => this.onTakeOver(possessions) },
    };
  }
}
