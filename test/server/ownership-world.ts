import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { serveForTest, settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { loadState, postState, saveState, setState } from './migration-driver.ts';

export const native = loadNative();

/** Lets a client send everything that there is, FERRY_INSPECT included. */
export const EVERYTHING =
  '{"capabilities":{"max_msg_fds":16,"ferry":{"inspect":true,"precopy_info":true,"claim":true,"reconnection":true}}}';
/** Like {@link EVERYTHING}, with a limit that is easy to see: no report fits into a message any more. */
export const ONE_BYTE = EVERYTHING.replace('{"max_msg_fds"', '{"max_data_xfer_size":1,"max_msg_fds"');

export const CONFIG = 7;

/** A test device with every kind of interrupt. */
export class OwnedDevice extends TestDevice {
  override readonly interrupts = { intx: true, msi: 4, msix: 4 };
}

/** A served device with its VMM and its controller, on whom things happen. */
export class World {
  readonly device = new OwnedDevice();
  readonly served = serveForTest(this.device);
  main: RawClient;
  control: RawClient;
  /** What the VMM has on its side: an eventfd that it gave, memory of a region that it mapped. */
  eventfd = -1;
  /** The eventfd of a doorbell. */
  bell = -1;
  mapping: Uint8Array | null = null;
  readonly #cleanups: (() => void)[] = [];

  private constructor() {
    this.main = this.served.connect();
    this.control = this.served.connect(this.served.controlPath);
  }

  static async open(main = EVERYTHING, control = EVERYTHING): Promise<World> {
    const world = new World();
    world.main.close();
    world.control.close();
    world.main = await world.served.main(main);
    world.control = await world.served.control(control);
    return world;
  }

  get server() {
    return this.served.server;
  }

  /** Runs when the world ends. */
  cleanup(run: () => void): void {
    this.#cleanups.push(run);
  }

  close(): void {
    this.served.close();
    for (const run of this.#cleanups.splice(0)) run();
  }

  // ---- what happens

  async set(state: MigrationState): Promise<void> {
    const errno = await setState(await this.controller(), state);
    if (errno !== 0) throw new Error(`SET to ${state}: errno ${errno}`);
  }

  async reset(by: RawClient): Promise<void> {
    const { error } = await by.request(13);
    if (error !== 0) throw new Error(`DEVICE_RESET: errno ${error}`);
  }

  async disconnectMain(): Promise<void> {
    this.main.close();
    while (this.server.main !== null) await settle(1);
  }

  async disconnectControl(): Promise<void> {
    this.control.close();
    while (this.server.controls > 0) await settle(1);
  }

  /** The VMM's connection: a new one if the old one has gone. */
  async vmm(): Promise<RawClient> {
    if (this.main.closed) this.main = await this.served.main(EVERYTHING);
    return this.main;
  }

  /** The controller's connection: a new one if the old one has gone. */
  async controller(): Promise<RawClient> {
    if (this.control.closed) this.control = await this.served.control(EVERYTHING);
    return this.control;
  }

  /** Gives the device the whole state of another, which keeps it in RESUMING. */
  async loadFrom(source: World): Promise<void> {
    await loadState(await this.controller(), await saveState(await source.controller()));
  }

  /** Makes the device run, which ends a hold. */
  async run(): Promise<void> {
    if (this.server.hold.active || this.server.migration.state !== MigrationState.RUNNING) {
      await this.set(MigrationState.RUNNING);
    }
  }

  // ---- what is seen

  /** Reads a region as the device has it, whatever the state or a hold would say to a client. */
  peek(region: number, offset: number, size = 4): number {
    const bytes = Buffer.alloc(size);
    this.server.device.regions[region]?.read(offset, bytes, 0, size);
    return bytes.readUIntLE(0, size);
  }

  async writeRegion(region: number, offset: number, value: number, size = 4): Promise<void> {
    const reply = await this.main.request(10, this.writeOf(region, offset, value, size));
    if (reply.error !== 0) throw new Error(`REGION_WRITE: errno ${reply.error}`);
  }

  /** The payload of a REGION_WRITE. */
  writeOf(region: number, offset: number, value: number, size = 4): Buffer {
    const data = Buffer.alloc(size);
    data.writeUIntLE(value, 0, size);
    return fields(BigInt(offset), region, size, data);
  }

  /** Where a capability with this id is in the configuration space. */
  capability(id: number): number {
    let at = this.peek(CONFIG, 0x34, 1);
    while (at !== 0 && this.peek(CONFIG, at, 1) !== id) at = this.peek(CONFIG, at + 1, 1);
    return at;
  }

  /** Gives a vector an eventfd of which the VMM keeps its end. */
  async giveEventfd(client: RawClient, index: number, vector: number): Promise<void> {
    const eventfd = native.eventfd(0);
    this.eventfd = eventfd;
    this.cleanup(() => native.close(eventfd));
    const reply = await client.request(8, fields(20, 0x24, index, vector, 1), [eventfd]);
    if (reply.error !== 0) throw new Error(`SET_IRQS: errno ${reply.error}`);
  }

  /** How often the VMM has been signalled since it looked last. */
  signals(): number {
    return Math.max(0, native.eventfdRead(this.eventfd));
  }

  /** Whether a register read is answered within `ms`. */
  async answers(client: RawClient, ms: number): Promise<boolean> {
    const id = client.post(9, fields(0n, 0, 4));
    return client.receives((message) => message.id === id, ms);
  }

  /** Posts a change of the state by the controller. */
  postState(state: MigrationState): number {
    return postState(this.control, state);
  }
}
