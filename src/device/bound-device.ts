import type { DmaRange } from '../memory/index.ts';
import { IrqIndex, PCI_NUM_REGIONS, RegionIndex } from '../protocol/index.ts';
import { requireSoundImage } from '../stream/index.ts';
import type { Bar, BarContent } from './bar.ts';
import { BAR_INDICES } from './bar-rules.ts';
import type { Blueprint } from './blueprint.ts';
import { BoundHandover } from './bound-handover.ts';
import { CallbackContent, type RegionCallbacks } from './callback-content.ts';
import { ConfigAccess } from './config-access.ts';
import { ConfigurationSpace } from './configuration-space.ts';
import type { MigrationServices } from './declared-migration.ts';
import type { HandoverHooks } from './device-handover.ts';
import type { DeviceTimers } from './device-timers.ts';
import { romRegion } from './expansion-rom.ts';
import { DeviceStatus } from './express-capability.ts';
import { InterruptController } from './interrupt-controller.ts';
import type { IrqMaskChange } from './irq-mask.ts';
import { Log } from './log.ts';
import { MsixPendingBits, MsixTable, pbaSize, tableSize } from './msix-table.ts';
import { OverlayContent } from './overlay-content.ts';
import type { PciIdentity } from './pci-identity.ts';
import { PciInterruptControls } from './pci-interrupt-controls.ts';
import { declarePciState, PciImage } from './pci-state.ts';
import { sleeping } from './power-management.ts';
import { absentRegion, BarRegion, configRegion } from './regions.ts';
import type { ResetReason } from './reset-reason.ts';
import { RunControl, RunLevel } from './run-control.ts';
import type { DeviceHost, DeviceInspection, DeviceMigration, Region, ServedDevice } from './served-device.ts';
import type { StatePart } from './state/index.ts';
import { CommandBit } from './type0-header.ts';

/** What an author's device hands over to be served. */
export interface AuthoredDevice {
  readonly blueprint: Blueprint;
  /** The declared state; null without one. */
  readonly state: StatePart | null;
  readonly timers: DeviceTimers;
  readonly asynchronous: boolean;
  readonly requireBusMaster: boolean;
  readonly resetOnDisconnect: boolean;
  readonly hooks: DeviceHooks;
}

/** The author's behaviour. */
export interface DeviceHooks {
  work(): unknown;
  onReset(reason: ResetReason): unknown;
  onRestored(): unknown;
  onDisconnect(): unknown;
  onDmaMap(range: DmaRange): unknown;
  onDmaUnmap(range: DmaRange): unknown;
  onIrqMask(change: IrqMaskChange): unknown;
  /** Who answers for the configuration space. */
  readonly configuration: RegionCallbacks;
  createMigration(services: MigrationServices): DeviceMigration;
  readonly handover: HandoverHooks;
}

/** A PciDevice with all its parts, on its host. */
export class BoundDevice implements ServedDevice {
  readonly identity: Required<PciIdentity>;
  readonly regions: readonly Region[];
  readonly interrupts: InterruptController;
  readonly migration: DeviceMigration;
  readonly asynchronous: boolean;
  readonly resetsOnDisconnect: boolean;
  readonly handover: BoundHandover;
  /** For the author's services. */
  readonly run: RunControl;
  readonly config: ConfigAccess;
  readonly space: BarContent;
  readonly log: Log;
  readonly #image: PciImage;
  readonly #timers: DeviceTimers;
  readonly #hooks: DeviceHooks;
  #resetting: Promise<void> | null = null;
  #closed = false;

  constructor(device: AuthoredDevice, host: DeviceHost) {
    const { blueprint, hooks, timers } = device;
    this.identity = blueprint.identity;
    this.asynchronous = device.asynchronous;
    this.resetsOnDisconnect = device.resetOnDisconnect;
    this.log = host.log ?? Log.OFF;
    this.#timers = timers;
    this.#hooks = hooks;
    const pci = declarePciState(blueprint);
    const config = new ConfigurationSpace(blueprint.config, pci.state.config, () => this.#controlsChanged());
    this.space = config;
    this.config = new ConfigAccess(config, () => this.#controlsChanged());
    const asleep = sleeping(config);
    const table = new MsixTable(pci.state.msixTable, pci.state.msixWritten, () => this.interrupts.update());
    const controls = new PciInterruptControls(config, (vector) => table.masked(vector), asleep);
    this.interrupts = new InterruptController(blueprint.counts, controls, (change) =>
      this.run.run('onIrqMask', () => hooks.onIrqMask(change)),
    );
    const isMaster = busMasterOf(config);
    this.run = new RunControl({
      host,
      timers,
      work: () => hooks.work(),
      isBusMaster: device.requireBusMaster ? () => !asleep() && isMaster() : () => !asleep(),
    });
    this.#image = new PciImage(this.identity, device.state, pci, {
      config,
      interrupts: this.interrupts,
      restored: () => this.run.run('onRestored', () => hooks.onRestored()),
    });
    requireSoundImage(this.#image);
    this.#image.materialize(host.native);
    this.regions = this.#makeRegions(blueprint, config, table, asleep);
    this.#provideLive(config);
    this.migration = hooks.createMigration({
      image: this.#image,
      crc32: (data, seed) => host.native.crc32(data, seed),
      migratable: device.state !== null,
      setLevel: (level) => this.#setLevel(level),
      resetState: (besides) => this.#resetState('resuming', besides),
    });
    this.handover = new BoundHandover({
      ...{ native: host.native, timers, migration: () => this.migration, hooks: hooks.handover },
      image: this.#image,
      blocks: device.state?.blocks ?? [],
    });
    host.memory.observe({
      mapped: (range) => this.run.run('onDmaMap', () => hooks.onDmaMap(range)),
      unmapping: (range) => this.run.run('onDmaUnmap', () => hooks.onDmaUnmap(range)),
    });
  }

  /** Runs the device for the first time. */
  start(): void {
    this.#setLevel(RunLevel.RUNNING);
  }

  reset(reason: ResetReason = 'device'): void | Promise<void> {
    if (this.#resetting !== null) return this.#resetting;
    const halted = this.run.halt();
    if (halted === undefined) return this.#restart(reason);
    this.#resetting = halted.then(() => {
      this.#resetting = null;
      this.#restart(reason);
    });
    return this.#resetting;
  }

  disconnected(): void {
    this.interrupts.disconnect();
    this.run.run('onDisconnect', () => this.#hooks.onDisconnect());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.run.halt();
    this.migration.reset();
    this.#timers.close();
    this.#image.close();
  }

  inspect(): DeviceInspection {
    return {
      running: this.run.running,
      mayInitiateDma: this.run.mayInitiateDma,
      working: this.run.working,
      outstandingDma: this.run.dma.outstanding,
      interrupts: {
        mode: this.interrupts.mode,
        level: this.interrupts.level,
        pendingMsi: this.interrupts.pendingVectors(IrqIndex.MSI),
        pendingMsix: this.interrupts.pendingVectors(IrqIndex.MSIX),
        held: this.interrupts.held,
      },
    };
  }

  #makeRegions(
    blueprint: Blueprint,
    config: ConfigurationSpace,
    table: MsixTable,
    asleep: () => boolean,
  ): readonly Region[] {
    const regions = Array.from({ length: PCI_NUM_REGIONS }, (_, index) => absentRegion(index));
    const content = new CallbackContent(this.#hooks.configuration);
    regions[RegionIndex.CONFIG] = configRegion(config, content, this.run);
    if (blueprint.rom !== null) regions[RegionIndex.ROM] = romRegion(blueprint.rom);
    const { vga } = blueprint;
    if (vga !== null) {
      regions[RegionIndex.VGA] = new BarRegion(RegionIndex.VGA, vga, vga.content, this.run, asleep);
    }
    for (const index of BAR_INDICES) {
      const bar = blueprint.bars[index];
      if (bar === undefined) continue;
      const behind = index === blueprint.msix?.bar ? this.#withMsix(blueprint, bar, table) : bar.content;
      regions[index] = new BarRegion(index, bar, behind, this.run, asleep);
    }
    return regions;
  }

  #withMsix({ msix }: Blueprint, bar: Bar, table: MsixTable): BarContent {
    if (msix === null) return bar.content;
    return new OverlayContent(bar.size, bar.content, [
      { offset: msix.table, size: tableSize(msix.vectors), content: table },
      { offset: msix.pba, size: pbaSize(msix.vectors), content: new MsixPendingBits(this.interrupts) },
    ]);
  }

  #provideLive(config: ConfigurationSpace): void {
    if (config.find('MSI.PENDING') !== null) config.provide('MSI.PENDING', () => this.#msiPending());
    const status = config.find('EXPRESS.DEVICE_STATUS');
    if (status === null) return;
    config.provide(status.name, () => {
      const pending = this.run.dma.outstanding > 0 ? DeviceStatus.TRANSACTIONS_PENDING : 0;
      return (config.get(status) & ~DeviceStatus.TRANSACTIONS_PENDING) | pending;
    });
  }

  #msiPending(): number {
    return this.interrupts.pendingVectors(IrqIndex.MSI).reduce((bits, vector) => bits | (1 << vector), 0);
  }

  /** Software has written the configuration space: interrupts may be enabled now, and work allowed. */
  #controlsChanged(): void {
    this.interrupts.update();
    this.run.resume();
  }

  #setLevel(level: RunLevel): void | Promise<void> {
    const quiesced = this.run.setLevel(level);
    if (level !== RunLevel.STOPPED) this.interrupts.update();
    return quiesced;
  }

  #restart(reason: ResetReason): void {
    if (this.#closed) return;
    this.migration.reset();
    this.#resetState(reason);
    this.#setLevel(RunLevel.RUNNING);
  }

  #resetState(reason: ResetReason, besides?: ReadonlySet<string>): void {
    this.#image.reset(besides);
    this.interrupts.reset();
    this.#timers.forgetPending();
    this.run.run('onReset', () => this.#hooks.onReset(reason));
  }
}

function busMasterOf(config: ConfigurationSpace): () => boolean {
  const command = config.register('COMMAND');
  return () => (config.get(command) & CommandBit.BUS_MASTER) !== 0;
}
