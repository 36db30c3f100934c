import {
  type Bars,
  DeviceError,
  type DeviceMigration,
  type DeviceOptions,
  KiB,
  type MigrationServices,
  PciDevice,
  type Possessions,
} from '../../device/index.ts';
import { Errno } from '../../errors/index.ts';
import { Activity } from './activity.ts';
import type { Leftover } from './command-loop.ts';
import { Complaints } from './complaints.ts';
import type { Controller } from './controller.ts';
import { identityOf, type NvmeIdentity, randomSerial } from './identity.ts';
import { VECTORS } from './limits.ts';
import type { NamespaceBackend } from './namespace.ts';
import { namespaceMigration } from './namespace-migration.ts';
import { assemble } from './parts.ts';
import { RamNamespace } from './ram-namespace.ts';
import { queueDoorbells, registerMap } from './register-map.ts';
import { type NvmeState, nvmeShape } from './state.ts';
import { requireSameNamespace, requireSoundState } from './state-check.ts';

/** Options of {@link NvmeDevice}: where the blocks of its namespace are, and who it is. */
export type NvmeOptions = {
  /** 1 to 20 printable ASCII characters, by which a guest finds its disk again; a random one by default. */
  readonly serial?: string;
  /**
   * True by default. Otherwise it reaches only guest memory that the client has given as fds, and can be served in
   * dedicated mode; then a backend has to be synchronous.
   */
  readonly asynchronous?: boolean;
} & (
  | {
      /** Bytes of a namespace in RAM, a multiple of 4 KiB. They are device state: they migrate. */
      readonly ram: number;
      /** Bytes of a logical block; 512 by default. */
      readonly blockSize?: 512 | 4096;
    }
  | {
      /** Storage outside of the device, which does not migrate: the destination opens the same. */
      readonly backend: NamespaceBackend;
    }
);

const VENDOR = 0x1234;
/** The least that NVM Express 1.4 allows (section 2.1.10). */
const BAR_SIZE = 16 * KiB;

/**
 * An NVM Express 1.4 controller with one namespace, up to 64 I/O queue pairs, MSI-X and INTx. Linux's nvme driver
 * makes /dev/nvme0n1 of it:
 *
 *     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/nvme.sock"}}'
 *
 * A command is either in its submission queue or in progress, and a migration waits for those in progress. So queues,
 * registers, features and outstanding event requests are all there is to save, and no completion is lost or doubled.
 */
export class NvmeDevice extends PciDevice {
  readonly identity = { kind: 'nvme', vendor: VENDOR, device: 0x4e56, revision: 1, classCode: 0x010802 };
  readonly interrupts = { intx: true, msix: VECTORS };
  override readonly options: DeviceOptions = { express: true, powerManagement: true };
  override readonly asynchronous: boolean;
  readonly state: NvmeState;
  readonly bars: Bars;
  readonly #backend: NamespaceBackend;
  readonly #activity = new Activity();
  readonly #complaints = new Complaints();
  readonly #controller: Controller;
  #identity: NvmeIdentity;

  constructor({ serial = randomSerial(), asynchronous = true, ...storage }: NvmeOptions) {
    super();
    this.asynchronous = asynchronous;
    this.#identity = identityOf(serial);
    this.state = this.migratable(nvmeShape('ram' in storage ? storage.ram : null));
    this.#backend = 'backend' in storage ? storage.backend : this.#ramNamespace(storage.blockSize);
    requireSuitable(this.#backend, asynchronous);
    const { controller, interrupts } = assemble({
      state: this.state,
      backend: this.#backend,
      activity: this.#activity,
      vendor: VENDOR,
      asynchronous,
      dma: () => this.dma,
      quiescing: () => this.quiescing,
      kick: () => this.#wake(),
      note: (error) => this.#complaints.note(error),
      pins: { raise: (vector) => this.raise(vector), lower: () => this.lower() },
    });
    this.#controller = controller;
    this.bars = {
      0: this.registers(BAR_SIZE, registerMap(this.state, controller, interrupts), {
        bits: 64,
        doorbells: queueDoorbells,
      }),
    };
    this.#identify();
  }

  protected override work(): void | Promise<void> {
    const leftover = this.#controller.step();
    if (this.#activity.count > 0) return this.#attend(leftover);
    this.#goOn(leftover);
  }

  /** A reset of the device makes no other disk of it, not even of one that came by migration. */
  protected override onReset(): void {
    this.#identify();
    this.#controller.restored();
  }

  protected override onRestored(): void {
    const { serial, uuid } = this.state;
    this.#identity = { serial: serial.slice(), uuid: uuid.slice() };
    this.#controller.restored();
  }

  protected override onHandOver(): Possessions {
    return { data: new Uint8Array(0), fds: this.#backend.handOver?.() ?? [] };
  }

  protected override onTakeOver({ fds }: Possessions): void {
    if (fds.length > 0) this.#backend.takeOver?.(fds);
  }

  protected override createMigration(services: MigrationServices): DeviceMigration {
    return namespaceMigration(services, {
      backend: this.#backend,
      needed: () => this.#controller.ready,
      handingOver: () => this.handingOver && this.#backend.handOver !== undefined,
      check: () => {
        requireSoundState(this.state);
        requireSameNamespace(this.state, this.#backend);
      },
    });
  }

  /** Goes on until nothing is in progress: then there is nothing left that a state would lack. */
  async #attend(first: Leftover): Promise<void> {
    let leftover = first;
    while (this.#activity.count > 0) {
      if (leftover === 'nothing') await this.#activity.changed();
      else await new Promise((resolve) => setImmediate(resolve));
      leftover = this.#controller.step();
    }
    this.#goOn(leftover);
  }

  /** The end of work: what it throws is reported to whoever runs the server. */
  #goOn(leftover: Leftover): void {
    if (leftover === 'commands') this.kick();
    if (leftover === 'data') this.after(0, () => this.kick());
    const complaint = this.#complaints.take();
    if (complaint !== null) throw complaint;
  }

  #wake(): void {
    this.#activity.wake();
    this.kick();
  }

  #ramNamespace(blockSize: 512 | 4096 = 512): NamespaceBackend {
    const { ram } = this.state;
    if (ram === undefined) throw new TypeError('the namespace has no memory');
    return new RamNamespace(ram, blockSize);
  }

  #identify(): void {
    const { state } = this;
    state.serial.set(this.#identity.serial);
    state.uuid.set(this.#identity.uuid);
    state.blocks = BigInt(this.#backend.blocks);
    state.blockSize = this.#backend.blockSize;
  }
}

function requireSuitable(backend: NamespaceBackend, asynchronous: boolean): void {
  if (asynchronous || backend.synchronous) return;
  throw new DeviceError('ERR_DEVICE_ASYNCHRONOUS', 'this backend takes time, and the device may not', {
    errno: Errno.EOPNOTSUPP,
  });
}
