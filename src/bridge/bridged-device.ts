import {
  type DeviceHost,
  type DeviceInspection,
  InterruptController,
  type PciIdentity,
  type Region,
  type ServedDevice,
} from '../device/index.ts';
import type { KernelDevice } from '../kernel/index.ts';
import { BridgedInterrupts } from './bridged-interrupts.ts';
import { BridgedMemory } from './bridged-memory.ts';
import { BridgedMigration } from './bridged-migration.ts';
import { bridgedRegions } from './bridged-regions.ts';

/** Nothing is signalled here: the kernel does that. */
const SILENT = {
  intxDisabled: true,
  msiEnabled: false,
  msiAllocated: 0,
  msiMasked: () => false,
  msixEnabled: false,
  msixFunctionMasked: false,
  msixMasked: () => false,
  levelChanged: () => {},
};

/** A device of the kernel on the host that serves it. */
export class BridgedDevice implements ServedDevice {
  readonly identity: Required<PciIdentity>;
  readonly regions: readonly Region[];
  readonly interrupts = new InterruptController({ intx: 0, msi: 0, msix: 0 }, SILENT);
  readonly passage: BridgedInterrupts;
  readonly migration: BridgedMigration;
  readonly resettable: boolean;
  /** A change of state takes the time that the driver takes. */
  readonly asynchronous = true;
  readonly #device: KernelDevice;
  readonly #memory: BridgedMemory;
  #closed = false;

  constructor(
    device: KernelDevice,
    identity: Required<PciIdentity>,
    host: DeviceHost,
    { flags, map }: { readonly flags: number; readonly map: boolean },
  ) {
    this.#device = device;
    this.identity = identity;
    this.resettable = device.mayReset;
    this.regions = bridgedRegions(device, map);
    this.passage = new BridgedInterrupts(device);
    this.migration = new BridgedMigration(device, flags);
    this.#memory = new BridgedMemory(device, host.memory, (error) => host.report(error));
  }

  /** What the VMM has set up in the kernel, interrupts and maps, stays. */
  async reset(): Promise<void> {
    await this.#device.reset();
  }

  disconnected(): void {
    this.passage.disableAll();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.passage.disableAll();
    void this.#device.dispose();
  }

  inspect(): DeviceInspection {
    const { health } = this.#memory;
    return {
      ...{ running: true, mayInitiateDma: true, working: false, outstandingDma: 0 },
      interrupts: { mode: 'none', level: false, pendingMsi: [], pendingMsix: [], held: false },
      ...(health.length === 0 ? {} : { health }),
    };
  }
}
