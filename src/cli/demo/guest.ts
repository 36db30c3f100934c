import { type DeviceClient, GuestMemory, type GuestRegion } from '../../client/index.ts';
import { MEMORY_VECTORS, MemoryRegister as Reg } from '../../devices/index.ts';
import { RegionIndex } from '../../protocol/index.ts';
import { type Attachment, attach } from './attachment.ts';

const { BAR0, CONFIG } = RegionIndex;

/** Where guest memory is, and how much: one part that the device maps, and one behind it that it reads by messages. */
const MEMORY_IOVA = 0x1000_0000n;
const MAPPED_SIZE = 256 * 1024;
const MESSAGE_SIZE = 1024 * 1024;

/** Offset of the Command register, and what a driver sets there: memory space and bus mastering. */
const COMMAND = 0x04;
const COMMAND_VALUE = 0x0006;
const MSIX_CAPABILITY = 0x11;
const MSIX_ENABLE = 0x8000;
const SCRATCH_WORDS = 16;
const CLOCK_PERIOD_MS = 1;

/**
 * Plays the guest: its memory, its interrupts, and a driver that has set the device up. Everything that touches the
 * device goes through {@link access}, so that the guest can be stopped as a VMM stops its vCPUs.
 */
export class Guest {
  readonly memory = new GuestMemory();
  /** The parts of guest memory, in ascending order without a gap. */
  readonly regions: readonly GuestRegion[];
  /** Interrupts received, by vector. */
  readonly received: number[] = Array.from({ length: MEMORY_VECTORS }, () => 0);
  /** What the driver has written into the scratch registers. */
  readonly scratch = Uint32Array.from({ length: SCRATCH_WORDS }, () => Math.floor(Math.random() * 2 ** 32));
  /** How often the guest has been moved to another connection. */
  moves = 0;
  readonly #listeners: ((vector: number) => void)[] = [];
  #attachment: Attachment | null = null;
  #former: Attachment[] = [];
  #inFlight = 0;
  #idle: (() => void) | null = null;
  #gate: { readonly opened: Promise<void>; open(): void } | null = null;

  constructor() {
    this.regions = [
      this.memory.add({ iova: MEMORY_IOVA, size: MAPPED_SIZE }),
      this.memory.add({ iova: MEMORY_IOVA + BigInt(MAPPED_SIZE), size: MESSAGE_SIZE, access: 'message' }),
    ];
  }

  /** Calls `listener` at each interrupt, once for every time that it fired. */
  onInterrupt(listener: (vector: number) => void): void {
    this.#listeners.push(listener);
  }

  /** Connects to the device and sets it up as a driver does. */
  async boot(path: string): Promise<void> {
    this.#attachment = await this.#attach(path);
    const { client } = this.#attachment;
    await client.writeU16(CONFIG, COMMAND, COMMAND_VALUE);
    await client.writeU16(CONFIG, await msixControl(client), MSIX_ENABLE);
    await client.writeU32(BAR0, Reg.PERIOD, CLOCK_PERIOD_MS);
    for (const [i, word] of this.scratch.entries()) await client.writeU32(BAR0, Reg.SCRATCH + 4 * i, word);
  }

  /** What the driver finds when it looks at what it has set up: everything that is not as it left it. */
  async lostSettings(): Promise<string[]> {
    return this.access(async ({ client }) => {
      const lost: string[] = [];
      if ((await client.readU16(CONFIG, COMMAND)) !== COMMAND_VALUE) lost.push('the Command register');
      if (((await client.readU16(CONFIG, await msixControl(client))) & MSIX_ENABLE) === 0)
        lost.push('MSI-X enable');
      if ((await client.readU32(BAR0, Reg.PERIOD)) !== CLOCK_PERIOD_MS) lost.push('the clock period');
      for (const [i, word] of this.scratch.entries()) {
        if ((await client.readU32(BAR0, Reg.SCRATCH + 4 * i)) !== word) lost.push(`scratch register ${i}`);
      }
      return lost;
    });
  }

  /** Does something with the device, as soon as the guest runs. */
  async access<T>(use: (attachment: Attachment) => Promise<T>): Promise<T> {
    while (this.#gate !== null) await this.#gate.opened;
    this.#inFlight += 1;
    try {
      return await use(this.attachment);
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#idle?.();
    }
  }

  /** Stops the guest: settles when none of its accesses is under way, and starts no more. */
  async pause(): Promise<void> {
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#gate = { opened, open };
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    this.#idle = null;
  }

  /** The guest goes on. */
  resume(): void {
    this.#gate?.open();
    this.#gate = null;
  }

  /**
   * Gives the guest another server's device, with the same memory and interrupts. The former connection stays open
   * until the end, so that no interrupt is lost that it has signalled already.
   */
  async moveTo(path: string): Promise<void> {
    const attachment = await this.#attach(path);
    this.#former.push(this.attachment);
    this.#attachment = attachment;
    this.moves += 1;
  }

  /** Where the guest is attached. */
  get attachment(): Attachment {
    if (this.#attachment === null) throw new Error('the guest has not booted');
    return this.#attachment;
  }

  /** Disconnects and gives the memory back. */
  close(): void {
    for (const { client } of this.#former) client.close();
    this.#attachment?.client.close();
    this.memory.close();
  }

  #attach(path: string): Promise<Attachment> {
    return attach(path, this.memory, (vector, times) => {
      this.received[vector] = (this.received[vector] ?? 0) + times;
      for (let i = 0; i < times; i += 1) for (const listener of this.#listeners) listener(vector);
    });
  }
}

async function msixControl(client: DeviceClient): Promise<number> {
  const { config } = await client.describe();
  const capability = config?.capabilities.find(({ id, extended }) => id === MSIX_CAPABILITY && !extended);
  if (capability === undefined) throw new Error('the device has no MSI-X');
  return capability.offset + 2;
}
